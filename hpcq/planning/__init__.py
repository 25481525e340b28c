"""Planning: where a circuit is cut, how its values are computed, and at what cost.

A normalised circuit, observables and limits enter; a :class:`~hpcq.planning.assembly.Plan` leaves,
with subcircuits, tensors, a contraction path and predicted seconds and bytes. ``search`` proposes
cuts. The same input, seed and memory limit always give the same plan, on any number of ranks, and a
plan that is accepted fits into the memory of a rank or says that it does not.
"""
