"""A device made of exact distributions, on which thousands of runs with shots take minutes.

Aer computes the distribution of each variant once, and NumPy draws from it. Variants, rounds,
inversions and estimates are those of hpcq.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error

from hpcq.core.limits import Limits
from hpcq.engines.aer_engine import AerEngine
from hpcq.engines.aer_sampler import SampledTemplate
from hpcq.engines.noise import as_noise
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.shots.sampling import Sampling
from hpcq.kinds.shots.tasks import ShotTasks
from hpcq.reconstruction.estimation.counts import Counts, merge
from hpcq.reconstruction.estimation.variant_batches import VariantBatch

Distribution = tuple[NDArray[np.uint64], NDArray[np.float64]]

FLIP = 0.02
"""Chance that a noisy measurement is misread."""


@dataclass(frozen=True)
class ExactDevice:
    """A device that knows the exact distribution of every variant, and draws from it.

    Attributes:
        task_set: The sources that are measured.
        model: Aer's noise model, if there is noise.
    """

    task_set: ShotTasks
    model: NoiseModel | None
    _known: dict[tuple[int, ...], Distribution] = field(default_factory=dict)

    @classmethod
    def of(cls, sampling: Sampling, *, noisy: bool) -> ExactDevice:
        """Open the device of a plan."""
        model = noise_model() if noisy else None
        limits = Limits(1 << 30)
        return cls(
            ShotTasks(sampling.sources.tensors, limits, 0, EngineSpec.of(model, None)), model
        )

    def measure(self, batches: Sequence[VariantBatch], rng: np.random.Generator) -> list[Counts]:
        """Draw the shots of a round."""
        counts = []
        for source, batch in enumerate(batches):
            rows = []
            for row in np.flatnonzero(batch.shots):
                outcomes, probabilities = self.distribution(source, batch.rows[row].tolist())
                frequencies = rng.multinomial(batch.shots[row], probabilities)
                occurred = frequencies > 0
                rows.append((int(row), outcomes[occurred], frequencies[occurred]))
            counts.append(Counts.gather(len(batch.rows), rows))
        return counts

    def exact(self) -> tuple[Counts, ...]:
        """Return the distributions of all variants of all sources, instead of counts."""
        counts = []
        for source, tensor in enumerate(self.task_set.tensors):
            batch = VariantBatch.of_all(tensor, np.ones(tensor.num_variants, dtype=np.int64))
            rows = [
                (i, *self.distribution(source, row)) for i, row in enumerate(batch.rows.tolist())
            ]
            counts.append(Counts.gather(len(rows), rows))
        return tuple(counts)

    def distribution(self, source: int, row: Sequence[int]) -> Distribution:
        """Return the outcomes of a variant and their probabilities."""
        key = (source, *row)
        if key not in self._known:
            self._known[key] = self._compute(source, row)
        return self._known[key]

    def _compute(self, source: int, row: Sequence[int]) -> Distribution:
        tensor = self.task_set.tensors[source]
        *settings, basis = row
        template, prepared = self.task_set.prepare_template(
            source,
            tensor.measured_ports(settings),
            self._engine,
            deferred=self._engine.defers_measurements,
        )
        assert isinstance(prepared, SampledTemplate), "the engine is Aer"
        method = prepared.methods[-1]  # with noise, that of a density matrix
        circuit = method.circuit.copy_empty_like()
        wires = {}
        for instruction in method.circuit.data:
            if instruction.operation.name == "measure":
                wires[circuit.find_bit(instruction.clbits[0]).index] = instruction.qubits[0]
            else:
                circuit.append(instruction)
        bits = sorted(wires)
        circuit.save_probabilities([wires[bit] for bit in bits])
        angles = tensor.angles(settings, basis)
        values = {p: angles[c] for p, c in zip(template.parameters, template.columns, strict=True)}
        bound = circuit.assign_parameters({p: values[p] for p in circuit.parameters})
        simulator = AerSimulator(method=method.method, noise_model=self.model)
        probabilities = (
            simulator.run(bound).result().data()["probabilities"].reshape((2,) * len(bits))
        )
        if self.model is not None:
            for axis in range(len(bits)):
                probabilities = (1 - FLIP) * probabilities + FLIP * np.flip(probabilities, axis)
        index = np.arange(probabilities.size, dtype=np.uint64)
        outcomes = np.zeros_like(index)
        for position, bit in enumerate(bits):
            outcomes |= ((index >> np.uint64(position)) & np.uint64(1)) << np.uint64(bit)
        mask = np.uint64(tensor.bit_mask(settings, basis))
        outcomes, probabilities = merge([(outcomes & mask, probabilities.reshape(-1))])
        return outcomes, probabilities / probabilities.sum()

    @cached_property
    def _engine(self) -> AerEngine:
        noise = None if self.model is None else as_noise(self.model)
        return AerEngine(self.task_set.limits, "cpu", noise)


def noise_model() -> NoiseModel:
    """Return noise of gates and of measurements."""
    model = NoiseModel(basis_gates=["rz", "sx", "cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.005, 1), ["sx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.03, 2), ["cx"])
    model.add_all_qubit_readout_error(ReadoutError([[1 - FLIP, FLIP], [FLIP, 1 - FLIP]]))
    return model
