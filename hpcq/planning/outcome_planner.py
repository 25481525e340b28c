"""Plan a circuit for its outcomes: from the user's arguments to a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.circuits.measurements import measurements_of
from hpcq.core.limits import Limits, precision_of
from hpcq.cutting.cuts import Cuts
from hpcq.parallel.serial import Farm
from hpcq.planning.cut_request import DEFAULT_SEARCH_SECONDS, CutRequest
from hpcq.planning.outcome_plan import OutcomesPlan
from hpcq.planning.planner import given_limits, plan_question
from hpcq.planning.problem import MeasuredOutcomes
from hpcq.planning.verdict import (
    DEFAULT_ERROR_TOLERANCE,
    DEFAULT_METHOD,
    Method,
    MethodRequest,
)

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def plan_outcomes(
    circuit: QuantumCircuit,
    *,
    shots: int = 0,
    probabilities: Sequence[str] = (),
    marginals: Iterable[Sequence[int]] = (),
    top: int = 0,
    max_qubits: int | None = None,
    cut_labels: str | Sequence[object] | None = None,
    cuts: Cuts | Mapping[str, Any] | str | Path | None = None,
    method: Method = "auto",
    error_tolerance: float = DEFAULT_ERROR_TOLERANCE,
    search_seconds: float = DEFAULT_SEARCH_SECONDS,
    ranks: int = 1,
    seed: int = 0,
    memory: int | None = None,
    threads: int | None = None,
    dtype: str | None = None,
) -> OutcomesPlan:
    """Plan the outcomes of a circuit's measurements: perfect samples, without sampling overhead.

    Give the plan to :func:`hpcq.run`, whose result then has ``outcomes``, or to
    :func:`hpcq.outcomes`.

    Args:
        circuit: A circuit of unitary gates with final measurements; without any, all qubits are
            measured. It has no free parameters.
        shots: Number of samples to draw.
        probabilities: Outcomes whose probabilities are wanted, as bit strings of Qiskit: the
            highest bit leftmost, registers separated by a space.
        marginals: Sets of measured qubits whose joint distributions are wanted.
        top: How many of the most probable outcomes are wanted.
        max_qubits: See :func:`hpcq.plan`, also for the arguments that follow.
        cut_labels: One label for each qubit.
        cuts: Explicit cuts.
        method: ``cut``, ``statevector``, ``stabilizer``, ``mps`` (matrix product state), or
            ``auto``. Stabilizer simulation and matrix product states give no amplitudes.
        error_tolerance: Bound on the distance from the exact distribution that ``auto`` accepts.
        search_seconds: About how long to search for cuts.
        ranks: Number of MPI ranks that the plan is made for; it can run on any number.
        seed: Seed of the search and of samples.
        memory: Bytes that a rank may use; by default most of what is free on this machine.
        threads: Threads of one simulation; by default the cores that this process may use.
        dtype: Type of amplitudes: ``complex128``, the default, or ``complex64``.

    Raises:
        InputError: If an argument is wrong, or the plan does not fit into the memory.

    Example:
        >>> from qiskit import QuantumCircuit
        >>> circuit = QuantumCircuit(4)
        >>> _ = circuit.h(0)
        >>> for qubit in range(3):
        ...     _ = circuit.cx(qubit, qubit + 1)
        >>> circuit.measure_all()
        >>> len(plan_outcomes(circuit, shots=100, cut_labels="AABB").cut.subcircuits)
        2
    """
    from hpcq.circuits.normalise import normalise

    return plan_normalised_outcomes(
        normalise(circuit),
        CutRequest(
            max_qubits, cut_labels, cuts, search_seconds=search_seconds, ranks=ranks, seed=seed
        ),
        given_limits(memory, threads, None if dtype is None else precision_of(dtype)),
        shots=shots,
        bitstrings=tuple(probabilities),
        marginals=tuple(map(tuple, marginals)),
        top=top,
        method=MethodRequest(method, error_tolerance),
    )


def plan_normalised_outcomes(
    circuit: QuantumCircuit,
    request: CutRequest,
    limits: Limits,
    *,
    method: MethodRequest = DEFAULT_METHOD,
    farm: Farm | None = None,
    earlier: Mapping[str, Any] | None = None,
    **wanted: Any,
) -> OutcomesPlan:
    """Return the plan of a normalised circuit; see :func:`plan_outcomes` for most arguments.

    ``farm`` and ``earlier`` are those of :func:`hpcq.planning.planner.plan_normalised`; what is
    wanted are attributes of :class:`~hpcq.planning.problem.MeasuredOutcomes`.
    """
    measurements = measurements_of(circuit)
    question = MeasuredOutcomes(
        measurements, with_amplitudes=measurements.are_implied, method=method, **wanted
    )
    found = plan_question(circuit, question, request, limits, farm=farm, earlier=earlier)
    assert isinstance(found, OutcomesPlan), "the kind of run for outcomes has made it"
    return found
