"""A device made of the variants' exact distributions: quick to measure, and with a known truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.kinds.shots.rounds import make_schedule
from hpcq.kinds.shots.sampling import Sampling
from hpcq.kinds.shots.schedule import Schedule
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.estimator import Estimator, ShotRound
from hpcq.reconstruction.estimation.outcome_signals import first_inversions
from hpcq.reconstruction.estimation.variant_batches import VariantBatch


def distributions(tensor: SampledTensor) -> Counts:
    """Return every variant's true distribution, from the statevector of its template's row."""
    rows = []
    for variant in range(tensor.num_variants):
        settings, basis = tensor.decode(variant)
        template = tensor.template(tensor.measured_ports(settings), deferred=True)
        table = tensor.angles(settings, basis)
        values = [table[column] for column in template.columns]
        bound = template.circuit.assign_parameters(
            dict(zip(template.parameters, values, strict=True))
        )
        state = QuantumCircuit(bound.num_qubits)
        measurements = []
        for instruction in bound.data:
            qubits = [bound.find_bit(qubit).index for qubit in instruction.qubits]
            if instruction.name == "measure":
                measurements.append((qubits[0], bound.find_bit(instruction.clbits[0]).index))
            else:
                state.append(instruction.operation, qubits)
        probabilities = np.abs(Statevector(state).data) ** 2
        index = np.arange(len(probabilities), dtype=np.uint64)
        outcomes = np.zeros(len(probabilities), dtype=np.uint64)
        for qubit, bit in measurements:
            outcomes |= (index >> np.uint64(qubit) & np.uint64(1)) << np.uint64(bit)
        rows.append(
            (variant, outcomes & np.uint64(tensor.bit_mask(settings, basis)), probabilities)
        )
    return Counts.gather(tensor.num_variants, rows)


class Device:
    """Measures the variants of a plan's sources by drawing from their distributions."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.exact = [distributions(tensor) for tensor in sampling.sources.tensors]

    def truth(self) -> np.ndarray:
        """Return the observables' values with shots without number."""
        assert self.sampling.reconstruction is not None
        inversions = tuple(first_inversions(tensor) for tensor in self.sampling.sources.tensors)
        known = ShotRound(1.0, inversions, tuple(self.exact))
        estimator = Estimator(self.sampling.sources, self.sampling.reconstruction, [known])
        return estimator.values()

    def measure(self, batches: Sequence[VariantBatch], rng: np.random.Generator) -> list[Counts]:
        """Draw the shots of a round."""
        counts = []
        for tensor, exact, batch in zip(
            self.sampling.sources.tensors, self.exact, batches, strict=True
        ):
            rows = []
            for row in np.flatnonzero(batch.shots):
                variant = np.ravel_multi_index(batch.rows[row].astype(int), tensor.shape)
                outcomes, probabilities = exact.of_variant(int(variant))
                frequencies = rng.multinomial(batch.shots[row], probabilities / probabilities.sum())
                rows.append((int(row), outcomes[frequencies > 0], frequencies[frequencies > 0]))
            counts.append(Counts.gather(len(batch.rows), rows))
        return counts

    def run(self, seed: int) -> Schedule:
        """Run the plan's schedule to its end."""
        rng = np.random.default_rng(seed)
        schedule = make_schedule(self.sampling, seed)
        while (planned := schedule.next_round()) is not None:
            schedule.add(planned, self.measure(planned.batches, rng))
        return schedule
