"""The parts of a circuit that are not simulated as statevectors.

Such a part has no ports, so its outcomes are independent of those of all other parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import num_bytes, pack_bits, unpack_bits
from hpcq.core.errors import HpcqError
from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.engines.requests import NO_PARAMETERS, Samples, Values
from hpcq.planning.outcome_plan import OutcomesPlan
from hpcq.reconstruction.outcomes.counted_outcomes import CountedOutcomes

_SEED_BITS = 63
"""Bits of an engine's seed."""


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a circuit that an engine samples.

    Attributes:
        tensor: The part.
        qubits: The qubit of each of its wires.
    """

    tensor: ExactTensor
    qubits: tuple[int, ...]

    def request(self, shots: int, seed: int) -> Samples:
        """Return the request for some of its samples."""
        how = self.tensor.simulation
        assert how is not None, "parts with statevectors are sites"
        return Samples(shots, seed, how.cap, how.tolerance, how.max_work)

    def draw(
        self, shots: int, sequence: np.random.SeedSequence, limits: Limits, num_qubits: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], float]:
        """Draw shots in random order.

        Args:
            shots: Number of shots.
            sequence: Source of the seeds.
            limits: Limits of this rank.
            num_qubits: Number of qubits of the circuit.

        Returns:
            Packed outcomes of all qubits of the circuit, those of other parts 0, shape (shots,
            bytes); the logarithms of their probabilities, shape (shots,); and a bound on the total
            variation distance of their distribution from the exact one.

        Raises:
            HpcqError: If the samples are too inexact.
        """
        how = self.tensor.simulation
        assert how is not None, "parts with statevectors are sites"
        engine = open_engine(EngineSpec(how.engine), limits, "cpu")
        seed = int(sequence.generate_state(1, np.uint64)[0] >> (64 - _SEED_BITS))
        (found,) = engine.prepared(self.tensor).execute(NO_PARAMETERS, self.request(shots, seed))
        if math.isinf(found.distance):
            raise HpcqError(
                f"samples by {how.engine} could not be drawn within the error tolerance; nothing "
                "is written: try another --method"
            )
        order = np.random.default_rng(sequence).permutation(
            np.repeat(np.arange(len(found.counts)), found.counts)
        )
        wires = unpack_bits(found.packed[order], len(self.qubits))
        bits = np.zeros((shots, 8 * num_bytes(num_qubits)), dtype=np.uint8)
        bits[:, list(self.qubits)] = wires
        return pack_bits(bits), found.log_probabilities[order], found.distance

    def probabilities(
        self, bits: NDArray[np.uint8], qubits: Sequence[int], limits: Limits
    ) -> tuple[NDArray[np.float64], float]:
        """Return the probabilities of outcomes of some of the part's qubits: values of projectors.

        Args:
            bits: Bits of the outcomes, shape (n, qubits).
            qubits: The qubits.
            limits: Limits of this rank.

        Returns:
            The probabilities, shape (n,), and a bound on their absolute errors.

        Raises:
            HpcqError: If they are too inexact.
        """
        how = self.tensor.simulation
        assert how is not None, "parts with statevectors are sites"
        wire = {qubit: number for number, qubit in enumerate(self.qubits)}
        wires = [wire[qubit] for qubit in qubits]
        distinct, where = np.unique(bits, axis=0, return_inverse=True)
        strings = tuple(
            tuple(sorted((w, "01"[bit]) for w, bit in zip(wires, row, strict=True)))
            for row in distinct.tolist()
        )
        engine = open_engine(EngineSpec(how.engine), limits, "cpu")
        request = Values(strings, how.cap, how.tolerance, how.max_work)
        ((values, bounds),) = engine.prepared(self.tensor).execute(NO_PARAMETERS, request)
        if np.isnan(values).any():
            raise HpcqError(
                f"probabilities by {how.engine} could not be computed within the error tolerance; "
                "try another --method"
            )
        return np.clip(values, 0, 1)[where.reshape(-1)], float(bounds.max(initial=0))


def parts_of(plan: OutcomesPlan) -> tuple[Part, ...]:
    """Return the parts that are not simulated as statevectors."""
    parts = []
    for subcircuit, use in zip(plan.cut.subcircuits, plan.uses, strict=True):
        if plan.tensors[use].simulation is not None:
            wires = subcircuit.open_wires
            parts.append(Part(plan.tensors[use], tuple(sorted(wires, key=wires.__getitem__))))
    return tuple(parts)


def shuffled(
    samples: CountedOutcomes, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the shots of distinct outcomes in random order, and their logarithms."""
    order = rng.permutation(np.repeat(np.arange(len(samples.counts)), samples.counts))
    return samples.outcomes[order], samples.log_probabilities[order]
