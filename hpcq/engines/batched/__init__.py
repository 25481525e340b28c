"""The batched engine: narrow subcircuits, simulated for many rows of angles at once.

What enters: an :class:`~hpcq.cutting.subexperiments.exact_tensors.ExactTensor` and rows of the
angles of its slots. What leaves: tensors of operators, and derivatives of sums over them. What
always holds: the structure of a circuit is worked out once; the numbers of a row never depend on
the other rows.
"""
