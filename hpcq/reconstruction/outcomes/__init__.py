"""Outcomes of a cut circuit: from the amplitudes of its subcircuits to those of all qubits.

The amplitudes of the subcircuits form a network of sites
(:mod:`~hpcq.reconstruction.outcomes.sites`). It yields perfect samples of the distribution of all
qubits, each with its probability, amplitudes, marginals and the most probable outcomes. Nothing is
enumerated over all cuts, and over all qubits only if they are few.
"""
