"""Outcomes of a cut circuit: from the amplitudes of its subcircuits to those of all qubits.

The amplitudes of the subcircuits enter as a network of sites
(:mod:`~hpcq.reconstruction.outcomes.sites`). Perfect samples of the distribution of all qubits
leave, each with its probability, and so do amplitudes, marginals and the most probable outcomes.
Nothing is ever enumerated over all cuts, and over all qubits only where they are few.
"""
