"""Qiskit's EstimatorV2 on plans and programs."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives import (
    BaseEstimatorV2,
    DataBin,
    EstimatorPubLike,
    PrimitiveResult,
    PubResult,
)
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from hpcq.kinds.shots.program import Estimates
from hpcq.primitives.job import FinishedJob
from hpcq.primitives.lock import computing
from hpcq.primitives.options import EstimatorOptions
from hpcq.primitives.programs import ProgramCache, Request
from hpcq.primitives.pubs import Block, ReadPub, read_pub


class Estimator(BaseEstimatorV2):  # type: ignore[misc]  # Qiskit brings no types
    """Expectation values of circuits that may be wider than the machine, as Qiskit asks for them.

    Values are exact, with standard errors 0, unless you give shots, a target error, noise or a
    backend. Then the precision of a pub is its target error, the standard error that no value
    exceeds, and ``stds`` are the standard errors that were reached; without a precision, the given
    shots decide.

    On a session with several ranks, exact values of one call that take a short time are computed
    side by side. Long ones, and estimates from shots, are computed one after the other by all
    ranks. The numbers are those of one process.

    The plan of a circuit is compiled and kept, so that further evaluations of the same circuit cost
    no more than their simulations. The same holds for circuits without free parameters that differ
    only in the angles of their rotations.

    Args:
        options: The options of :func:`hpcq.plan`, such as ``max_qubits=20``; ``device``,
            ``engine``, ``noise`` and ``backend`` of :func:`hpcq.run`; and ``session``, a
            :class:`hpcq.Session` whose ranks share the work, by default the one that is open, and
            without one this process alone.

    Raises:
        InputError: If an option is only for runs that keep files, or needs shots.

    Example:
        >>> from qiskit import QuantumCircuit
        >>> from qiskit.circuit import Parameter
        >>> from hpcq.primitives import Estimator
        >>> circuit, angle = QuantumCircuit(4), Parameter("angle")
        >>> _ = circuit.ry(angle, 0)
        >>> for qubit in range(3):
        ...     _ = circuit.cx(qubit, qubit + 1)
        >>> estimator = Estimator(max_qubits=2)
        >>> job = estimator.run([(circuit, [["ZIII"], ["ZZZZ"]], [0.0, 1.0, 2.0])])
        >>> job.result()[0].data.evs.round(4)
        array([[ 1.    ,  0.5403, -0.4161],
               [ 1.    ,  1.    ,  1.    ]])
    """

    def __init__(self, **options: Any) -> None:
        self._options = EstimatorOptions.of(options)
        self._programs = ProgramCache(self._options)

    @property
    def default_precision(self) -> float:
        """Target error of pubs without a precision; 0 for exact values, or if shots decide."""
        return self._options.default_precision

    @property
    def programs(self) -> ProgramCache:
        """The compiled plans."""
        return self._programs

    def run(
        self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None
    ) -> FinishedJob[PrimitiveResult[PubResult]]:
        """Compute the expectation values of pubs, before it returns.

        The calling thread computes, because no other may use MPI, and because algorithms wait for
        the result anyway. So there is nothing to cancel: a signal stops the script itself.

        Args:
            pubs: Pubs: (circuit, observables), (circuit, observables, values of parameters) or
                (circuit, observables, values of parameters, precision).
            precision: Target error of pubs without one of their own; exact values are exact
                whatever the precision.

        Returns:
            A job that has ended.

        Raises:
            ValueError: If a pub is wrong.
        """
        default = self.default_precision if precision is None else precision
        coerced = [EstimatorPub.coerce(pub, default) for pub in pubs]
        return FinishedJob(lambda: self._compute(coerced))

    def _compute(self, pubs: list[EstimatorPub]) -> PrimitiveResult[PubResult]:
        with computing:
            read_circuit = self._programs.structures.read
            read = [read_pub(pub, read_circuit(pub.circuit)) for pub in pubs]
            values = [np.empty(pub.size) for pub in pubs]
            errors = [np.empty(pub.size) for pub in pubs]
            groups = self._groups(pubs, read)
            requests = [_request(group, pubs, read) for group in groups]
            for group, estimates in zip(groups, self._programs.estimate(requests), strict=True):
                _distribute(estimates, group, values, errors)
        results = [
            PubResult(
                DataBin(evs=evs.reshape(pub.shape), stds=stds.reshape(pub.shape), shape=pub.shape),
                metadata={
                    "target_precision": pub.precision,
                    "circuit_metadata": pub.circuit.metadata,
                },
            )
            for pub, evs, stds in zip(pubs, values, errors, strict=True)
        ]
        return PrimitiveResult(results, metadata={"version": 2})

    def _groups(
        self, pubs: list[EstimatorPub], read: list[ReadPub]
    ) -> list[list[tuple[int, Block]]]:
        """Return groups of blocks that need the same program, each block with its pub's number."""
        groups: dict[Hashable, list[tuple[int, Block]]] = {}
        for number, (pub, each) in enumerate(zip(pubs, read, strict=True)):
            for block in each.blocks:
                key = self._programs.key(each.structure, block.observables, pub.precision)
                groups.setdefault(key, []).append((number, block))
        return list(groups.values())


def _request(
    group: list[tuple[int, Block]], pubs: list[EstimatorPub], read: list[ReadPub]
) -> Request:
    """Return the request for the values of blocks that need the same program."""
    first, block = group[0]
    rows = np.concatenate([each.rows for _, each in group])
    return Request(read[first].structure, block.observables, rows, pubs[first].precision)


def _distribute(
    estimates: Estimates,
    group: list[tuple[int, Block]],
    values: list[NDArray[np.float64]],
    errors: list[NDArray[np.float64]],
) -> None:
    """Put the results of blocks into their places."""
    start = 0
    for number, each in group:
        at = start + each.at_rows, each.at_observables
        values[number][each.places] = estimates.values[at]
        errors[number][each.places] = estimates.standard_errors[at]
        start += len(each.rows)
