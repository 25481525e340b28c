"""Planning: where a circuit is cut, how its values are computed, and at what cost.

A :class:`~hpcq.planning.problem.Problem` (a normalised circuit, a question about it, and limits)
and a request for cuts enter; a :class:`~hpcq.planning.plan.Plan` leaves, with subcircuits and
predicted seconds. The kind of run that answers the question makes the plan; ``routing`` decides by
which methods, unless the request says where to cut, and ``search`` proposes cuts. The same input,
seed and memory limit always give the same plan, on any number of ranks, and a plan that is accepted
fits into the memory of a rank or says that it does not.
"""
