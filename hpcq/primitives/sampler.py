"""Qiskit's SamplerV2 on perfect samples of cut circuits."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives import (
    BaseSamplerV2,
    BitArray,
    DataBin,
    PrimitiveResult,
    SamplerPubLike,
    SamplerPubResult,
)
from qiskit.primitives.containers.sampler_pub import SamplerPub

from hpcq.core.limits import as_integer
from hpcq.primitives.job import FinishedJob
from hpcq.primitives.lock import computing
from hpcq.primitives.pubs import parameter_rows
from hpcq.primitives.sampled_circuits import SampledCircuits
from hpcq.primitives.sampler_options import SamplerOptions


class Sampler(BaseSamplerV2):  # type: ignore[misc]  # Qiskit brings no types
    """Samples of circuits that may be wider than the machine, as Qiskit asks for them.

    Samples follow the distribution of the whole circuit, however often it is cut: each comes from
    the states of all subcircuits, and none is weighted. They depend on the seed and on the calls
    before, and not on the number of ranks.

    Cuts are searched for once for each structure of circuits, and kept for circuits that differ in
    the angles of their rotations only.

    Args:
        default_shots: Number of samples of pubs without one of their own.
        options: The options of :func:`hpcq.plan_outcomes`, such as ``max_qubits=20`` and ``seed``;
            ``device`` and ``engine`` of :func:`hpcq.run`; and ``session``, a :class:`hpcq.Session`
            whose ranks share the work, by default the one that is open, and without one this
            process alone.

    Raises:
        InputError: If an option is only for runs that keep files, or asks for a device, from which
            there are no samples of cut circuits.

    Example:
        >>> from qiskit import QuantumCircuit
        >>> from hpcq.primitives import Sampler
        >>> circuit = QuantumCircuit(4)
        >>> _ = circuit.h(0)
        >>> for qubit in range(3):
        ...     _ = circuit.cx(qubit, qubit + 1)
        >>> circuit.measure_all()
        >>> job = Sampler(max_qubits=2).run([circuit], shots=1000)
        >>> sorted(job.result()[0].data.meas.get_counts())
        ['0000', '1111']
    """

    def __init__(self, *, default_shots: int = 1024, **options: Any) -> None:
        self._options = SamplerOptions.of(options)
        self._default_shots = as_integer(default_shots, "default_shots", 1)
        self._circuits = SampledCircuits(self._options)

    @property
    def default_shots(self) -> int:
        """Number of samples of pubs without one of their own."""
        return self._default_shots

    @property
    def seed(self) -> int:
        """Seed of the searches and of the samples."""
        return self._options.seed

    def run(
        self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None
    ) -> FinishedJob[PrimitiveResult[SamplerPubResult]]:
        """Sample the circuits of pubs.

        Args:
            pubs: Pubs: a circuit, (circuit, values of parameters) or (circuit, values of
                parameters, shots).
            shots: Number of samples of pubs without one of their own.

        Returns:
            A job that has ended. The data of each pub has a ``BitArray`` for each classical
            register, with the shape of its values; bits that no measurement writes to are 0.

        Raises:
            ValueError: If a pub is wrong.
        """
        default = self.default_shots if shots is None else shots
        coerced = [SamplerPub.coerce(pub, default) for pub in pubs]
        if any(not pub.circuit.cregs for pub in coerced):
            warnings.warn(
                "a circuit has no classical registers, so that its result is empty; expected "
                "measurements, as by circuit.measure_all()",
                UserWarning,
                stacklevel=2,
            )
        return FinishedJob(lambda: self._compute(coerced))

    def _compute(self, pubs: list[SamplerPub]) -> PrimitiveResult[SamplerPubResult]:
        with computing:
            results = [self._sample(pub) for pub in pubs]
        return PrimitiveResult(results, metadata={"version": 2})

    def _sample(self, pub: SamplerPub) -> SamplerPubResult:
        """Return the result of one pub, whose rows of values are sampled one after the other."""
        rows = parameter_rows(pub)
        widths = {register.name: len(register) for register in pub.circuit.cregs}
        bits: dict[str, NDArray[np.uint8]] = {
            name: np.zeros((len(rows), pub.shots, -(-width // 8)), dtype=np.uint8)
            for name, width in widths.items()
        }
        for number, sampled in enumerate(self._circuits.samples(pub.circuit, rows, pub.shots)):
            for name, packed in sampled:
                if name in bits:  # bits in no register have no place in the result
                    bits[name][number] = packed
        arrays = {
            name: BitArray(packed.reshape(*pub.shape, *packed.shape[1:]), widths[name])
            for name, packed in bits.items()
        }
        return SamplerPubResult(
            DataBin(**arrays, shape=pub.shape),
            metadata={"shots": pub.shots, "circuit_metadata": pub.circuit.metadata},
        )
