"""The protocol of kinds of run; planning and running know nothing else about a kind.

A kind turns a problem into a plan, and a plan into tasks and a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from hpcq.core.errors import InputError
from hpcq.planning import kind_registry

if TYPE_CHECKING:
    from hpcq.core.limits import Limits
    from hpcq.parallel.serial import Farm
    from hpcq.planning.cut_request import CutRequest
    from hpcq.planning.plan import CompiledPlan, Plan
    from hpcq.planning.problem import Problem, Question
    from hpcq.planning.search.objective import ObjectiveName


class Kind(Protocol):
    """A kind of run.

    Attributes:
        name: Its name, which is ``mode`` in configurations and files.
        question: The class of the questions that it answers.
        contents: What its files hold, for messages, such as ``an exact result``.
        title: What its runs are called in messages, such as ``an exact run``.
        takes_parameters: Whether the circuit may have free parameters.
        objective: What a search for cuts minimises by default.
    """

    name: str
    question: type
    contents: str
    title: str
    takes_parameters: bool
    objective: ObjectiveName

    def plan(self, problem: Problem, request: CutRequest, farm: Farm | None) -> Plan:
        """Return the plan of a problem, with the requested cuts or those of a search.

        Call it on rank 0 only. The ranks of a farm share the search; None is this process alone.

        Raises:
            InputError: If no plan solves the problem, or its values are not valid for this kind.
        """

    def with_limits(self, plan: Any, limits: Limits) -> Any:
        """Return the same plan for ranks with these limits; only their threads change.

        Raises:
            MemoryLimitError: If the plan needs more memory than the ranks have.
        """

    def check(self, plan: Any, ranks: int) -> None:
        """Check that a plan can be run.

        Raises:
            InputError: If it takes too long, has too many tasks, or needs too much memory.
        """

    def describe(self, plan: Any) -> str:
        """Return a plan as text."""

    def to_json(self, plan: Any) -> dict[str, Any]:
        """Return a plan as plain JSON values."""

    def prepare(self, plan: Any, options: Any) -> Any:
        """Return a :class:`hpcq.runs.prepared_run.PreparedRun`: it is prepared but not started.

        The options are :class:`hpcq.runs.options.RunOptions`.

        Raises:
            InputError: If an option is wrong, or the output belongs to a different run.
        """

    def compile(self, plan: Any, session: Any, device: str) -> CompiledPlan:
        """Return the program of a plan, to be evaluated at rows of its free parameters.

        The session is a :class:`hpcq.Session`, or None for the one that is open, or this process
        alone.

        Raises:
            InputError: If the device is wrong, or plans of this kind have no programs.
        """


def kind_of(plan: Plan) -> Kind:
    """Return the kind of a plan."""
    kind: Kind = kind_registry.find_kind(plan.config["mode"])
    return kind


def kind_for(question: Question) -> Kind:
    """Return the kind that answers a question.

    Raises:
        InputError: If none does.
    """
    for kind in kind_registry.all_kinds():
        if isinstance(question, kind.question):
            found: Kind = kind
            return found
    raise InputError(f"question: a {type(question).__name__}, which no kind of run answers")
