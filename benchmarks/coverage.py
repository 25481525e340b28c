"""Many runs with shots of one circuit: ``python coverage.py coverage|allocation CASE RUNS``.

Whether error bars are right, and what adaptive rounds save, takes thousands of runs. So the device
is made of exact distributions: Aer computes each variant's once, numpy draws from it. All that
decides the result is hpcq's own: variants, rounds, recipes, estimates. The last line on stdout is
a JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector, random_unitary
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error
from shots import entangled, linked

import hpcq
from hpcq.config import Limits
from hpcq.cutting.cuts import Cuts, GateCut, WireCut
from hpcq.engines.aer_shots import AerShots
from hpcq.engines.noise import as_noise
from hpcq.shots.allocation import evenly
from hpcq.shots.batches import Batch
from hpcq.shots.counts import Counts, merge
from hpcq.shots.engine import Wanted
from hpcq.shots.estimate import Estimator, Round
from hpcq.shots.order import ShotOrder
from hpcq.shots.reading import first_recipes
from hpcq.shots.rounds import make_schedule
from hpcq.shots.sampling import Sampling

Report = dict[str, Any]
Terms = Sequence[tuple[str, Sequence[int], float]]
Distribution = tuple[NDArray[np.uint64], NDArray[np.float64]]

FLIP = 0.02
"""Chance that a noisy measurement is misread."""


@dataclass(frozen=True)
class Case:
    """A circuit that is run many times.

    Attributes:
        about: What it is there for.
        circuit: The circuit.
        terms: The observable, as ``SparsePauliOp.from_sparse_list`` takes it.
        cuts: The arguments of ``hpcq.plan`` that say where to cut.
        shots: Shots of a run.
        how: Further arguments of ``hpcq.plan``.
        noisy: Whether the device is.
        unequal: Whether some variants matter much more than others.
    """

    about: str
    circuit: QuantumCircuit
    terms: Terms
    cuts: Report
    shots: int | None
    how: Report = field(default_factory=dict)
    noisy: bool = False
    unequal: bool = False

    def observable(self) -> SparsePauliOp:
        """Build the observable."""
        return SparsePauliOp.from_sparse_list(self.terms, self.circuit.num_qubits)

    def sampling(self) -> Sampling:
        """Plan, and return what is sampled."""
        how = {"threads": 1, "shots": self.shots} | self.cuts | self.how
        return hpcq.plan(self.circuit, self.observable(), **how).sampling


@dataclass(frozen=True)
class ExactDevice:
    """A device that knows the exact distribution of every variant, and draws from it.

    Attributes:
        order: What is measured.
        model: Aer's noise model, if there is noise.
    """

    order: ShotOrder
    model: NoiseModel | None
    _known: dict[tuple[int, ...], Distribution] = field(default_factory=dict)

    @classmethod
    def of(cls, sampling: Sampling, *, noisy: bool) -> ExactDevice:
        """Open the device of a plan."""
        model = noise_model() if noisy else None
        limits = Limits(1 << 30)
        return cls(ShotOrder(sampling.sources.tensors, limits, 0, Wanted.of(model, None)), model)

    def measure(self, batches: Sequence[Batch], rng: np.random.Generator) -> list[Counts]:
        """Draw the shots of a round."""
        found = []
        for source, batch in enumerate(batches):
            rows = []
            for row in np.flatnonzero(batch.shots):
                outcomes, chances = self.distribution(source, batch.rows[row].tolist())
                times = rng.multinomial(batch.shots[row], chances)
                came = times > 0
                rows.append((int(row), outcomes[came], times[came]))
            found.append(Counts.gather(len(batch.rows), rows))
        return found

    def exact(self) -> tuple[Counts, ...]:
        """Return the distributions of all variants of all sources, in the place of counts."""
        found = []
        for source, tensor in enumerate(self.order.tensors):
            batch = Batch.of_all(tensor, np.ones(tensor.num_variants, dtype=np.int64))
            rows = [
                (i, *self.distribution(source, own)) for i, own in enumerate(batch.rows.tolist())
            ]
            found.append(Counts.gather(len(rows), rows))
        return tuple(found)

    def distribution(self, source: int, row: Sequence[int]) -> Distribution:
        """Return a variant's outcomes and their chances."""
        key = (source, *row)
        if key not in self._known:
            self._known[key] = self._compute(source, row)
        return self._known[key]

    def _compute(self, source: int, row: Sequence[int]) -> Distribution:
        tensor = self.order.tensors[source]
        *settings, basis = row
        template, prepared = self.order.prepared(
            source, tensor.measured(settings), self._engine, deferred=self._engine.deferred
        )
        way = prepared.ways[-1]  # with noise, that of a density matrix
        circuit = way.circuit.copy_empty_like()
        wires = {}
        for instruction in way.circuit.data:
            if instruction.operation.name == "measure":
                wires[circuit.find_bit(instruction.clbits[0]).index] = instruction.qubits[0]
            else:
                circuit.append(instruction)
        bits = sorted(wires)
        circuit.save_probabilities([wires[bit] for bit in bits])
        angles = tensor.angles(settings, basis)
        values = {p: angles[c] for p, c in zip(template.parameters, template.columns, strict=True)}
        bound = circuit.assign_parameters({p: values[p] for p in circuit.parameters})
        simulator = AerSimulator(method=way.method, noise_model=self.model)
        chances = simulator.run(bound).result().data()["probabilities"].reshape((2,) * len(bits))
        if self.model is not None:
            for axis in range(len(bits)):
                chances = (1 - FLIP) * chances + FLIP * np.flip(chances, axis)
        index = np.arange(chances.size, dtype=np.uint64)
        outcomes = np.zeros_like(index)
        for place, bit in enumerate(bits):
            outcomes |= ((index >> np.uint64(place)) & np.uint64(1)) << np.uint64(bit)
        mask = np.uint64(tensor.bits(settings, basis))
        outcomes, chances = merge([(outcomes & mask, chances.reshape(-1))])
        return outcomes, chances / chances.sum()

    @cached_property
    def _engine(self) -> AerShots:
        noise = None if self.model is None else as_noise(self.model)
        return AerShots(self.order.limits, "cpu", noise)


def noise_model() -> NoiseModel:
    """Return noise of gates and of measurements."""
    model = NoiseModel(basis_gates=["rz", "sx", "cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.005, 1), ["sx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.03, 2), ["cx"])
    model.add_all_qubit_readout_error(ReadoutError([[1 - FLIP, FLIP], [FLIP, 1 - FLIP]]))
    return model


def truth_of(case: Case, sampling: Sampling, device: ExactDevice) -> float:
    """Return what the mean of all runs should be.

    Without noise it is the uncut circuit's; with noise, what the exact distributions contract to.
    """
    if not case.noisy:
        return float(Statevector(case.circuit).expectation_value(case.observable()).real)
    recipes = tuple(first_recipes(tensor) for tensor in sampling.sources.tensors)
    measured = Round(1.0, recipes, device.exact())
    return float(Estimator(sampling.sources, sampling.reconstruction, [measured]).values()[0])


def adaptive(sampling: Sampling, device: ExactDevice, run: int) -> tuple[float, float, int]:
    """Do a run as hpcq does it; return its value, its standard error, and its shots."""
    rng = np.random.default_rng([0, run])
    schedule = make_schedule(sampling, run)
    while (step := schedule.next()) is not None:
        schedule.take(step, device.measure(step.batches, rng))
    return float(schedule.values()[0]), float(schedule.errors()[0]), schedule.shots


def uniform(sampling: Sampling, device: ExactDevice, run: int) -> float:
    """Do a run of one round, its shots evenly over all variants; return its value."""
    tensors = sampling.sources.tensors
    recipes = tuple(first_recipes(tensor) for tensor in tensors)
    estimator = Estimator(sampling.sources, sampling.reconstruction)
    needed = [
        reader.used(own) & reader.informative
        for reader, own in zip(estimator.readers, recipes, strict=True)
    ]
    shots = evenly(np.concatenate(needed), sampling.budget.shots)
    ends = np.cumsum([tensor.num_variants for tensor in tensors])[:-1]
    batches = [
        Batch.of_all(tensor, own)
        for tensor, own in zip(tensors, np.split(shots, ends), strict=True)
    ]
    counts = device.measure(batches, np.random.default_rng([1, run]))
    estimator.add(Round(1.0, recipes, tuple(counts)))
    return float(estimator.values()[0])


def coverage(case: Case, runs: int) -> Report:
    """Hold the errors that runs report against those that they make."""
    sampling = case.sampling()
    device = ExactDevice.of(sampling, noisy=case.noisy)
    truth = truth_of(case, sampling, device)
    found = np.array([adaptive(sampling, device, run) for run in range(runs)])
    off = found[:, 0] - truth
    with np.errstate(divide="ignore"):
        sigmas = np.abs(off / found[:, 1])
    spread = float(off.var(ddof=1))
    return described(sampling) | {
        "truth": truth,
        "shots": float(found[:, 2].mean()),
        "spread": spread**0.5,
        "within_1": float((sigmas < 1).mean()),
        "within_2": float((sigmas < 2).mean()),
        "bias": float(off.mean() / (spread / runs) ** 0.5),
        "variance_ratio": float((found[:, 1] ** 2).mean() / spread),
    }


def allocation(case: Case, runs: int) -> Report:
    """Compare the variances of adaptive and of evenly spread shots, as many of them."""
    sampling = case.sampling()
    device = ExactDevice.of(sampling, noisy=case.noisy)
    found = np.array([adaptive(sampling, device, run) for run in range(runs)])
    even = np.array([uniform(sampling, device, run) for run in range(runs)])
    ratio = float(even.var(ddof=1) / found[:, 0].var(ddof=1))
    return described(sampling) | {
        "unequal": case.unequal,
        "shots": float(found[:, 2].mean()),
        "spread": float(found[:, 0].std(ddof=1)),
        "uniform_spread": float(even.std(ddof=1)),
        "ratio": ratio,
        "ratio_error": ratio * 2 / runs**0.5,
    }


def described(sampling: Sampling) -> Report:
    tensors = sampling.sources.tensors
    return {
        "mode": sampling.mode + (", few settings" if any(own.lean for own in tensors) else ""),
        "variants": [tensor.num_variants for tensor in tensors],
        "ports": [[f"{port.kind} {port.dimension}" for port in own.ports] for own in tensors],
        "budget": asdict(sampling.budget),
    }


def cuts(gates: Sequence[int], wires: Sequence[tuple[int, int]]) -> Report:
    """Return cuts: numbers of two-qubit gates; qubits, and after how many of their gates."""
    gate_cuts = tuple(GateCut(gate) for gate in gates)
    return {"cuts": Cuts(gate_cuts, tuple(WireCut(*wire) for wire in wires))}


def joined(gate: QuantumCircuit, seed: int) -> QuantumCircuit:
    """Join two blocks of two qubits by one gate of any kind."""
    circuit = entangled(4, [(0, 1), (2, 3)], seed)
    circuit.unitary(Operator(gate), [1, 2])
    return circuit.compose(entangled(4, [(0, 1), (2, 3)], seed + 1))


def weak_gate() -> QuantumCircuit:
    """Return a weakly entangling gate that is no controlled one."""
    gate = QuantumCircuit(2)
    gate.rxx(0.3, 0, 1)
    gate.ryy(0.2, 0, 1)
    gate.rzz(0.1, 0, 1)
    return gate


def strong_gate() -> QuantumCircuit:
    """Return a random two-qubit gate."""
    gate = QuantumCircuit(2)
    gate.unitary(random_unitary(4, seed=5), [0, 1])
    return gate


TWO = {"partition": "AABB"}
THREE = {"partition": "AABBCC"}
LADDER = [(0, 1), (1, 2), (1, 2), (0, 3), (2, 3)]
MIXED = [("XX", (0, 1), 0.5), ("ZZ", (2, 3), 1.0), ("YX", (1, 2), 0.7), ("X", (5,), -0.4)]
STAR = [(0, 3), (0, 4), (0, 5), (0, 1), (1, 2), (3, 4), (4, 5)]
CENTRE = [(0, 1), (1, 2), (0, 3), (1, 4), (2, 5), (0, 1), (1, 2)]

COVERAGE = {
    "wire": Case(
        "a cut wire",
        entangled(3, [(0, 1), (1, 2)], 3),
        [("ZZ", (0, 2), 1.0)],
        cuts([], [(1, 1)]),
        4000,
    ),
    "gates": Case(
        "two cut gates",
        entangled(4, linked(2, 2, 2), 2),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        10000,
    ),
    "both": Case(
        "a cut gate and a cut wire",
        entangled(4, LADDER, 8),
        [("ZX", (0, 3), 1.0)],
        cuts([3], [(1, 1)]),
        10000,
    ),
    "general": Case(
        "a cut two-qubit gate of any kind",
        joined(strong_gate(), 4),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        20000,
    ),
    "hamiltonian": Case(
        "terms that do not commute, three subcircuits",
        entangled(6, linked(3, 2, 1), 6),
        [*MIXED, ("Z", (5,), 0.3), ("ZYY", (0, 3, 4), 0.6)],
        THREE,
        20000,
    ),
    "control": Case(
        "a port shared by three cut gates of one qubit",
        entangled(6, STAR[3:] + STAR[:3], 7, quiet=(0,)),
        [("XZX", (0, 3, 5), 1.0)],
        {"partition": "AAABBB"},
        10000,
    ),
    "joint": Case(
        "joint samples of three cut gates",
        entangled(6, linked(2, 3, 3), 9),
        [("ZZ", (0, 5), 1.0), ("X", (2,), 0.5)],
        {"partition": "AAABBB"},
        20000,
        {"max_variants": 20},
    ),
    "noisy": Case(
        "noise of gates and measurements, a cut gate and a cut wire",
        entangled(4, LADDER, 8),
        [("ZX", (0, 3), 1.0), ("Z", (2,), 0.5)],
        cuts([3], [(1, 1)]),
        10000,
        noisy=True,
    ),
    "precision": Case(
        "two cut gates, until a standard error is reached",
        entangled(4, linked(2, 2, 2), 2),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        None,
        {"standard_error": 0.03},
    ),
    "few": Case(
        "five subcircuits in a row, 12 shots a variant",
        entangled(15, linked(5, 3, 1), 22),
        [("ZZZZZ", (0, 4, 8, 11, 14), 1.0)],
        {"partition": "AAABBBCCCDDDEEE"},
        1020,
    ),
}
"""Circuits whose error bars are held against their spread."""

ALLOCATION = {
    "weak-gates": Case(
        "two cut rzz(0.1)",
        entangled(4, linked(2, 2, 2, 0.1), 2),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        10000,
        unequal=True,
    ),
    "weak-general": Case(
        "a cut gate of three weak angles",
        joined(weak_gate(), 4),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        20000,
        unequal=True,
    ),
    "coefficients": Case(
        "terms with coefficients from 0.02 to 2",
        entangled(6, linked(3, 2, 1), 6),
        [("Z", (0,), 2.0), ("XX", (2, 3), 0.1), ("YZ", (1, 4), 0.05), ("X", (5,), 0.02)],
        THREE,
        20000,
        unequal=True,
    ),
    "subcircuits": Case(
        "a subcircuit with three cuts, and three with one",
        entangled(6, CENTRE, 12),
        [("ZZZZ", (0, 3, 4, 5), 1.0)],
        {"partition": "AAABCD"},
        20000,
        unequal=True,
    ),
    "one-cz": Case(
        "two equal halves, a cut CZ",
        entangled(4, linked(2, 2, 1), 1),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        4000,
    ),
    "two-cz": Case(
        "two equal halves, two cut CZ",
        entangled(4, linked(2, 2, 2), 2),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        10000,
    ),
    "one-wire": Case(
        "a cut wire",
        entangled(3, [(0, 1), (1, 2)], 3),
        [("ZZ", (0, 2), 1.0)],
        cuts([], [(1, 1)]),
        4000,
    ),
    "few-one-cz": Case(
        "two equal halves, a cut CZ, 16 shots a variant",
        entangled(4, linked(2, 2, 1), 1),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        160,
    ),
    "few-two-cz": Case(
        "two equal halves, two cut CZ, 12 shots a variant",
        entangled(4, linked(2, 2, 2), 2),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        600,
    ),
}
"""Circuits on which adaptive rounds are compared with one even round."""

METHODS = {"coverage": (coverage, COVERAGE), "allocation": (allocation, ALLOCATION)}

if __name__ == "__main__":
    measure, cases = METHODS[sys.argv[1]]
    print(json.dumps(measure(cases[sys.argv[2]], int(sys.argv[3]))))
