"""Programs: exact plans with free parameters, evaluated at rows of their values.

A plan enters; a :class:`~hpcq.kinds.parameters.program.Program` leaves, which returns values of
observables and their derivatives. Subcircuits are prepared once, and simulated again only where
their angles changed. The values of a row are the same bit for bit alone, among other rows, and on
any number of ranks. An evaluation fails unless the identity has the value 1.
"""
