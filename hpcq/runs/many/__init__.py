"""Many circuits in one job, each with its own plan, run and output file.

Paths of circuits and one set of options enter. Results leave in the order in which they finish, and
a manifest shows the state of each circuit. Small runs are tasks of the farm, one circuit a rank;
large ones use all ranks, one after the other. A circuit that fails does not stop the others, and
the values of each are those of a run of its own, bit for bit.
"""
