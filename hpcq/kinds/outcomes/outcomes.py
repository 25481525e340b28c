"""A circuit that is simulated once, and asked for outcomes any number of times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from hpcq.circuits.measurements import Measurements
from hpcq.core.errors import HpcqError, InputError
from hpcq.core.limits import as_integer
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.kinds.outcomes.answers import Answers
from hpcq.kinds.outcomes.run import with_source
from hpcq.kinds.shots.outcomes import EstimatedOutcomes, estimate_outcomes, outcomes_of
from hpcq.kinds.shots.sampling import ShotsPlan
from hpcq.parallel import messages
from hpcq.parallel.serial import Farm
from hpcq.parallel.world import check_free
from hpcq.planning.outcome_plan import OutcomesPlan
from hpcq.planning.outcome_planner import plan_outcomes
from hpcq.results.outcome_record import MostProbable
from hpcq.results.result import Result, load
from hpcq.results.samples import Samples
from hpcq.runs.agreement import agree_on_call, agree_on_run
from hpcq.runs.arguments import RunArguments
from hpcq.runs.collective import from_rank_0
from hpcq.runs.session import Session, current_session, run

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

T = TypeVar("T")


@overload
def outcomes(
    circuit: QuantumCircuit | ShotsPlan, comm: Comm | None = None, *, shots: int, **options: Any
) -> EstimatedOutcomes: ...


@overload
def outcomes(circuit: ShotsPlan | Result | str | Path) -> EstimatedOutcomes: ...


@overload
def outcomes(
    circuit: QuantumCircuit | OutcomesPlan | None, comm: Comm | None = None, **options: Any
) -> Outcomes: ...


def outcomes(
    circuit: QuantumCircuit | OutcomesPlan | ShotsPlan | Result | str | Path | None,
    comm: Comm | None = None,
    **options: Any,
) -> Outcomes | EstimatedOutcomes:
    """Simulate a circuit once, to sample its outcomes and to ask for their probabilities.

    Samples are perfect: they follow the distribution of the whole circuit, however often it is
    cut, and there is no sampling overhead.

    With ``shots``, the circuit runs as on a device, with that number of shots of all variants
    together: with ``noise``, on a ``backend``, or ideal. There are then estimates of probabilities
    with standard errors, but no samples; see :class:`hpcq.EstimatedOutcomes`. The result of an
    earlier run with shots is read without a new run.

    Args:
        circuit: A circuit, whose final measurements say what is measured (all qubits, if there are
            none), or a plan by :func:`hpcq.plan_outcomes`. Only rank 0's is used; other ranks may
            pass None. For estimates, it may be a plan with shots, the result of a run with shots or
            the path of its file.
        comm: An mpi4py communicator whose ranks share the work: all of them must call this
            function, and then the methods of what it returns. By default the ranks of the open
            session, where rank 0 alone calls; without one all ranks of the MPI job, or this process
            alone if there is none.
        options: The options of :func:`hpcq.plan_outcomes`, such as ``max_qubits=20``; and
            ``device`` and ``engine``, as for :func:`hpcq.run`. With shots, the options of
            :func:`hpcq.plan` and of :func:`hpcq.run`.

    Returns:
        :class:`hpcq.Outcomes`, or with shots :class:`hpcq.EstimatedOutcomes`.

    Raises:
        InputError: If an argument is wrong, or the plan does not fit into the memory.
        HpcqError: If the simulation fails.

    Example:
        >>> import hpcq
        >>> from qiskit import QuantumCircuit
        >>> circuit = QuantumCircuit(4)
        >>> _ = circuit.h(0)
        >>> for qubit in range(3):
        ...     _ = circuit.cx(qubit, qubit + 1)
        >>> ghz = hpcq.outcomes(circuit, max_qubits=2)
        >>> sorted(ghz.sample(1000).counts)
        ['0000', '1111']
        >>> ghz.probabilities(["0000", "0001"]).round(12).tolist()
        [0.5, 0.0]
        >>> ghz.marginal([0, 3]).round(12).tolist()
        [0.5, 0.0, 0.0, 0.5]
        >>> estimated = hpcq.outcomes(circuit, shots=10_000, cut_labels="AABB", device="cpu")
        >>> bool(estimated.probabilities(["0000"]).standard_errors[0] < 0.05)
        True
    """
    if isinstance(circuit, Result | str | Path):
        if options or comm is not None:
            raise InputError(
                f"{min(options, default='comm')}: given with a result, expected the result alone"
            )
        return outcomes_of(circuit if isinstance(circuit, Result) else load(circuit))
    if isinstance(circuit, ShotsPlan) or any(options.get(name) is not None for name in _OF_SHOTS):
        return estimate_outcomes(circuit, comm, **options)
    names = {field.name for field in fields(RunArguments)}
    arguments = {name: value for name, value in options.items() if name in _ARGUMENTS}
    planning = {name: value for name, value in options.items() if name not in _ARGUMENTS}
    if others := sorted(names & planning.keys()):
        raise InputError(
            f"{others[0]}: given for exact outcomes, expected with hpcq.run(hpcq.plan_outcomes())"
        )
    if isinstance(circuit, OutcomesPlan) and planning:
        raise InputError(
            f"{min(planning)}: given with a plan, expected it in hpcq.plan_outcomes's arguments"
        )
    session = current_session() if comm is None else None
    farm = Session(comm).farm if session is None else session.farm
    ranks = _Ranks(farm, session, comm, arguments)
    if session is None:
        check_free(farm)
        agree_on_run(farm, circuit, None, planning, name="hpcq.outcomes")
    planning.setdefault("ranks", farm.size)

    def make() -> OutcomesPlan:
        if isinstance(circuit, OutcomesPlan):
            return circuit
        if not isinstance(circuit, QuantumCircuit):
            raise InputError(
                f"circuit: a {type(circuit).__name__}, expected a QuantumCircuit or a plan by "
                "hpcq.plan_outcomes"
            )
        return plan_outcomes(circuit, **planning)

    plan = ranks.from_rank_0(make)
    found = Outcomes(plan, ranks)
    found._simulate()
    return found


_OF_SHOTS = ("shots", "noise", "backend", "target_error", "max_variants")
"""Options that make the circuit run as on a device."""

_ARGUMENTS = ("device", "engine")
"""Arguments of a run that apply to outcomes."""


class _Ranks:
    """The ranks that answer: one, those of a session, or all that call together.

    Args:
        farm: The ranks.
        session: The session, whose rank 0 alone calls; None if all ranks call together.
        comm: The communicator that was given.
        arguments: Arguments of each run.
    """

    def __init__(
        self, farm: Farm, session: Session | None, comm: Comm | None, arguments: dict[str, Any]
    ) -> None:
        self.size = farm.size
        self.device, self.engine = arguments.get("device", "auto"), arguments.get("engine")
        self._farm, self._session, self._comm = farm, session, comm
        self._arguments = arguments

    def agree(self, method: str, **arguments: Any) -> None:
        """Make sure that all ranks call a method of :class:`Outcomes` with the same arguments.

        Raises:
            InputError: On all ranks, if one of them does not.
        """
        if self._session is None:
            agree_on_call(self._farm, f"Outcomes.{method}", **arguments)

    def run(self, plan: OutcomesPlan | None) -> Result:
        """Run a plan and return its result; on other ranks, without details."""
        if self._session is not None:
            assert plan is not None, "rank 0 has it"
            return self._session.run(plan, **self._arguments)
        return run(plan, self._comm, **self._arguments)

    def from_rank_0(self, make: Callable[[], T]) -> T | None:
        """Return what a function returns on rank 0; None on other ranks."""
        if self._session is not None:
            return make()
        return from_rank_0(self._farm, make)

    def shared(self, make: Callable[[], T]) -> T:
        """Return on every rank that calls what a function returns on rank 0."""
        value = self.from_rank_0(make)
        if self._session is not None or self.size == 1:
            return value  # type: ignore[return-value]  # this is rank 0
        sent = b"" if value is None else messages.dumps(value)
        found: T = messages.loads(self._farm.broadcast(sent))
        return found


class Outcomes:
    """Outcomes of a circuit that is simulated; :func:`hpcq.outcomes` returns it.

    With several ranks, all that called :func:`hpcq.outcomes` call each method together.

    Attributes:
        plan: The plan; None on ranks other than 0.
        measurements: The classical registers.
    """

    def __init__(self, plan: OutcomesPlan | None, ranks: _Ranks) -> None:
        self.plan = plan
        self._ranks = ranks
        self.measurements: Measurements = ranks.shared(lambda: self._plan.question.measurements)

    def sample(self, shots: int = 1024, seed: int | None = None) -> Samples:
        """Draw samples.

        Args:
            shots: Number of samples.
            seed: Seed; by default that of the plan. The same seed gives the same samples, on any
                number of ranks.

        Raises:
            InputError: If a number is wrong.
            MemoryLimitError: If the tables do not fit into the memory.
        """
        self._ranks.agree("sample", shots=shots, seed=seed)

        def make() -> OutcomesPlan:
            chosen = self._plan.config["seed"] if seed is None else as_integer(seed, "seed", 0)
            return self._plan.asking({"seed": chosen}, shots=as_integer(shots, "shots", 1))

        result = self._ranks.run(self._ranks.from_rank_0(make))

        def drawn() -> Samples:
            assert result.outcomes is not None, "this is rank 0"
            assert result.outcomes.samples is not None, "samples were asked for"
            return result.outcomes.samples

        return self._ranks.shared(drawn)

    def probabilities(self, bitstrings: Sequence[str]) -> NDArray[np.float64]:
        """Return the probabilities of outcomes, shape (outcomes,).

        Args:
            bitstrings: The outcomes as in Qiskit: the highest bit leftmost, registers separated by
                a space.

        Raises:
            InputError: If a text is no bit string.
        """
        self._ranks.agree("probabilities", bitstrings=bitstrings)
        return self._ranks.shared(lambda: self._answers.probabilities(_listed(bitstrings)))

    def amplitudes(self, bitstrings: Sequence[str]) -> NDArray[np.complex128]:
        """Return amplitudes of outcomes, up to one phase that all have in common.

        Raises:
            InputError: If a text is no bit string; if the method gives no amplitudes; if not all
                qubits are measured, or gates that change no probability were dropped.
        """
        self._ranks.agree("amplitudes", bitstrings=bitstrings)
        return self._ranks.shared(lambda: self._answers.amplitudes(_listed(bitstrings)))

    def marginal(self, qubits: Sequence[int]) -> NDArray[np.float64]:
        """Return the joint distribution of measured qubits, at most 24.

        Returns:
            Shape (2**qubits,); bit i of the index is the outcome of ``qubits[i]``.

        Raises:
            InputError: If a qubit is not measured, or there are too many.
        """
        self._ranks.agree("marginal", qubits=qubits)
        return self._ranks.shared(lambda: self._answers.marginal(qubits))

    def top(self, number: int) -> MostProbable:
        """Return the most probable outcomes, the most probable first.

        Its ``is_exact`` says whether no other outcome is more probable. If that cannot be shown,
        they come from samples, and ``missed_probability`` bounds the probability that one outcome
        as probable as the last one was missed.

        Raises:
            InputError: If the number is wrong.
        """
        self._ranks.agree("top", number=number)
        return self._ranks.shared(lambda: self._answers.top(number))

    def __str__(self) -> str:
        return "outcomes" if self.plan is None else str(self.plan)

    @property
    def _plan(self) -> OutcomesPlan:
        if self.plan is None:
            raise HpcqError("outcomes: only rank 0 has the plan")
        return self.plan

    @cached_property
    def _answers(self) -> Answers:
        plan = self._plan
        network = plan.known.network
        assert network is not None, "it was simulated"
        engine = open_engine(EngineSpec.of(engine=self._ranks.engine), plan.limits, "cpu")
        return Answers(plan, with_source(plan, network, engine), plan.table_bytes)

    def _simulate(self) -> None:
        """Simulate what later questions need."""
        self._ranks.run(self._ranks.from_rank_0(lambda: self._plan.asking()))


def _listed(bitstrings: Sequence[str]) -> list[str]:
    """Return bit strings as a list; one alone is no list of bits."""
    return [bitstrings] if isinstance(bitstrings, str) else list(bitstrings)
