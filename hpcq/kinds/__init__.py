"""The kinds of run, exact and with shots: from a problem to a plan, and from a plan to a result.

A problem enters, and a plan leaves; a plan, a farm and run options enter, and a result leaves, the
same on every rank. A kind divides its plan into tasks, computes values and standard errors from
their results, and decides what a stopped run saves. A run that was stopped and resumed, on any
number of ranks, gives the same result as one that was never stopped. Importing this package
registers the kinds.
"""

from hpcq.kinds.exact.kind import ExactKind
from hpcq.kinds.outcomes.kind import OutcomesKind
from hpcq.kinds.shots.kind import ShotsKind
from hpcq.planning.kind_registry import register

register(ExactKind())
register(OutcomesKind())
register(ShotsKind())
