"""The kind of run for measured outcomes: samples, probabilities, marginals, the most probable ones.

The plan is that of an exact run whose only string is the identity, on a circuit that is simplified
for the joint distribution. All ranks simulate the states of the subcircuits and draw chunks of
shots; rank 0 computes all other answers from the states. Samples depend on the seed, and not on the
number of ranks.
"""
