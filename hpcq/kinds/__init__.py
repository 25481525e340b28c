"""Kinds of runs, exact and with shots: from a plan to a result.

A plan, a farm and run options enter; a result leaves, the same on every rank. A kind turns its plan
into tasks, reduces what the tasks give to values and standard errors, and describes what is saved
when it is stopped. A resumed run, on any number of ranks, gives the result of one never stopped.
"""

from hpcq.kinds.exact.kind import ExactKind
from hpcq.kinds.shots.kind import ShotsKind
from hpcq.planning.kind_registry import register

register(ExactKind())
register(ShotsKind())
