"""The kind of run for measured outcomes: samples, probabilities, marginals, the most probable ones.

A plan of states enters: that of an exact run whose only string is the identity, on a circuit that
is simplified for the joint distribution. All ranks simulate the subcircuits' states and draw chunks
of shots; the rest is computed from the states on rank 0. Samples depend on the seed, and not on the
number of ranks.
"""
