from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import CXGate, UnitaryGate
from qiskit.quantum_info import DensityMatrix, Operator, Statevector, SuperOp
from qiskit_aer.noise import (
    NoiseModel,
    ReadoutError,
    amplitude_damping_error,
    depolarizing_error,
    pauli_error,
)

import hpcq
from hpcq.core.errors import EngineError, InputError
from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.device_circuits import SampledTensor, Template
from hpcq.engines.aer_engine import AerEngine
from hpcq.engines.aer_sampler import _batches, compile_for_noise
from hpcq.engines.noise import as_noise, read_noise
from hpcq.engines.protocol import PreparedPiece
from hpcq.engines.requests import Row, ShotCounts

LIMITS = Limits(1 << 30)


def circuit_of_four() -> QuantumCircuit:
    circuit = QuantumCircuit(4)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.ry(0.4, 1)
    circuit.cp(0.7, 1, 2)
    circuit.unitary(np.array([[0.6, 0.8], [-0.8j, 0.6j]]), [1])
    circuit.cx(2, 3)
    circuit.ry(1.1, 2)
    circuit.swap(1, 2)
    circuit.ry(0.3, 3)
    circuit.rzz(0.5, 2, 3)
    return circuit


def tensors_of(
    circuit: QuantumCircuit, partition: str = "AABB", observables: Sequence[str] = ("Z0 Z3", "X1")
) -> list[SampledTensor]:
    plan = hpcq.plan(circuit, list(observables), cut_labels=partition, threads=1, memory=1 << 30)
    return [
        SampledTensor(subcircuit, strings)
        for subcircuit, strings in zip(plan.cut.subcircuits, plan.terms.strings, strict=True)
    ]


def some_variants(
    tensor: SampledTensor, *, deferred: bool, each: int = 2
) -> list[tuple[Template, np.ndarray]]:
    """Return the templates that measure the fewest and the most gate ports, with a few rows."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for variant in range(tensor.num_variants):
        groups.setdefault(tensor.measured_ports(tensor.decode(variant)[0]), []).append(variant)
    chosen = {min(groups, key=len), max(groups, key=len)}
    templates = []
    for measured in sorted(chosen):
        template = tensor.template(measured, deferred=deferred)
        variants = groups[measured]
        rows = []
        for variant in variants[:: max(1, len(variants) // each)][:each]:
            angles = tensor.angles(*tensor.decode(variant))
            rows.append([angles[column] for column in template.columns])
        templates.append((template, np.array(rows).reshape(len(rows), len(template.parameters))))
    return templates


def sample(prepared: PreparedPiece, rows: np.ndarray, shots: object, seed: int) -> list[Row]:
    """Return the counts of rows of one template."""
    return prepared.execute(rows, ShotCounts(np.asarray(shots), seed))


def ideal(template: Template, row: Sequence[float]) -> dict[int, float]:
    """Return the exact distribution of a template with deferred measurements."""
    values = dict(zip(template.parameters, row, strict=True))
    bound = template.circuit.assign_parameters(values)
    pairs, gates = [], bound.copy_empty_like()
    for instruction in bound.data:
        if instruction.name == "measure":
            qubit, bit = instruction.qubits[0], instruction.clbits[0]
            pairs.append((bound.find_bit(bit).index, bound.find_bit(qubit).index))
        else:
            gates.append(instruction)
    pairs.sort()
    weights = Statevector(gates).probabilities([qubit for _, qubit in pairs])
    return {
        sum(1 << bit for i, (bit, _) in enumerate(pairs) if state >> i & 1): float(weight)
        for state, weight in enumerate(weights)
    }


def noisy(circuit: QuantumCircuit, model: NoiseModel) -> dict[int, float]:
    """Return the exact distribution of a bound circuit with measurements anywhere."""
    width = circuit.num_qubits
    branches = {0: DensityMatrix.from_label("0" * width)}
    for instruction in circuit.data:
        qubits = [circuit.find_bit(q).index for q in instruction.qubits]
        if instruction.name == "measure":
            bit = circuit.find_bit(instruction.clbits[0]).index
            readout = model._local_readout_errors.get(tuple(qubits), model._default_readout_error)
            flips = np.eye(2) if readout is None else np.array(readout.probabilities)
            after: dict[int, DensityMatrix] = {}
            for outcome, state in branches.items():
                for value in (0, 1):
                    projector = Operator(np.diag([1 - value, value]))
                    part = state.evolve(SuperOp(projector), qubits).data
                    for read in (0, 1):
                        key = outcome | read << bit
                        old = after[key].data if key in after else 0
                        after[key] = DensityMatrix(old + flips[value][read] * part)
            branches = after
            continue
        steps = [SuperOp(Operator(instruction.operation))]
        local = model._local_quantum_errors.get(instruction.name, {}).get(tuple(qubits))
        error = local or model._default_quantum_errors.get(instruction.name)
        steps += [SuperOp(error)] if error is not None else []
        for step in steps:
            branches = {key: state.evolve(step, qubits) for key, state in branches.items()}
    return {key: float(np.trace(state.data).real) for key, state in branches.items()}


def fits(row: Row, exact: dict[int, float]) -> bool:
    """Whether counts pass a chi-square test at about five standard deviations."""
    outcomes, times = row
    shots = int(times.sum())
    if not all(exact.get(int(o), 0) > 1e-12 for o in outcomes):
        return False
    counts = dict(zip(outcomes.tolist(), times.tolist(), strict=True))
    cells, rest = [], [0.0, 0.0]
    for outcome, weight in exact.items():
        if weight * shots >= 5:
            cells.append((counts.get(outcome, 0), weight * shots))
        else:
            rest = [rest[0] + counts.get(outcome, 0), rest[1] + weight * shots]
    if rest[1] > 1e-9:
        cells.append((rest[0], max(rest[1], 1.0)))
    freedom = max(len(cells) - 1, 1)
    return sum((count - e) ** 2 / e for count, e in cells) < freedom + 5 * np.sqrt(2 * freedom) + 5


def same(left: list[Row], right: list[Row]) -> bool:
    return all(
        np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
        for a, b in zip(left, right, strict=True)
    )


def some_noise() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.05, 2), "cx")
    model.add_quantum_error(amplitude_damping_error(0.1), "sx", [0])
    model.add_quantum_error(amplitude_damping_error(0.2), "sx", [1])
    model.add_all_qubit_quantum_error(depolarizing_error(0.9, 2), "unitary")
    model.add_readout_error(ReadoutError([[0.95, 0.05], [0.2, 0.8]]), [0])
    model.add_readout_error(ReadoutError([[0.9, 0.1], [0.02, 0.98]]), [1])
    return model


def test_counts_follow_the_ideal_distribution() -> None:
    engine = AerEngine(LIMITS)
    assert engine.name == "aer cpu"
    assert engine.defers_measurements
    for tensor in tensors_of(circuit_of_four()):
        for template, rows in some_variants(tensor, deferred=True, each=4):
            shots = np.arange(4000, 4000 + 3000 * len(rows), 3000)
            counts = sample(engine.prepare(template), rows, shots, 1)
            for row, values, number in zip(counts, rows, shots, strict=True):
                assert row[1].sum() == number
                assert np.all(np.diff(row[0].astype(np.int64)) > 0)
                assert fits(row, ideal(template, values))


def test_real_and_deferred_measurements_agree() -> None:
    engine = AerEngine(LIMITS)
    tensor = tensors_of(circuit_of_four())[0]
    both = [some_variants(tensor, deferred=d) for d in (True, False)]
    for (deferred, rows), (real, same_rows) in zip(*both, strict=True):
        np.testing.assert_array_equal(rows, same_rows)
        counts = sample(engine.prepare(real), rows, np.full(len(rows), 3000), 2)
        assert all(fits(c, ideal(deferred, row)) for c, row in zip(counts, rows, strict=True))


@pytest.mark.slow
def test_seeds_rows_and_threads() -> None:
    template, rows = some_variants(tensors_of(circuit_of_four())[0], deferred=True)[-1]
    rows = np.repeat(rows[:1], 6, axis=0)
    shots = np.array([20000, 20000, 19999, 30, 7, 20000])
    engine = AerEngine(LIMITS)
    prepared = engine.prepare(template)
    first = sample(prepared, rows, shots, 2**62 + 5)
    assert [int(times.sum()) for _, times in first] == shots.tolist()
    assert same(first, sample(prepared, rows, shots, 2**62 + 5))
    assert not same(first[:1], sample(prepared, rows, shots, 2**62 + 6)[:1])
    pairs = [(0, 1), (0, 2), (1, 5)]
    assert not any(same([first[a]], [first[b]]) for a, b in pairs)
    two = AerEngine(replace(LIMITS, threads=2))
    assert same(first, sample(two.prepare(template), rows, shots, 2**62 + 5))


def test_batches_waste_little_and_miss_no_row() -> None:
    shots = np.random.default_rng(0).integers(1, 10**5, 200)
    batches = list(_batches(shots, 4e-7))
    assert sorted(np.concatenate(batches)) == list(range(200))
    assert all((shots[b].max() - shots[b]).sum() * 4e-7 <= 2e-3 for b in batches)
    assert len(batches) < 100
    assert len(list(_batches(np.full(50, 9), 1.0))) == 1


@pytest.mark.slow
def test_rows_without_parameters() -> None:
    circuit = QuantumCircuit(2, 40)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [3, 39])
    template = Template(circuit, (), (), "")
    for engine in (AerEngine(LIMITS), AerEngine(LIMITS, noise=as_noise(some_noise()))):
        counts = sample(engine.prepare(template), np.empty((2, 0)), np.array([5000, 5000]), 3)
        assert [int(times.sum()) for _, times in counts] == [5000, 5000]
        assert not same(counts[:1], counts[1:])
        if engine.defers_measurements:
            assert fits(counts[1], {0: 0.5, (1 << 39) + 8: 0.5})
        assert sample(engine.prepare(template), np.empty((0, 0)), np.empty(0, int), 3) == []


def test_matrices_of_any_order_and_parametric_phases() -> None:
    p = Parameter("p")
    matrix = np.array([[0.6, 0.8], [-0.8j, 0.6j]])
    matrix.setflags(write=False)
    circuit = QuantumCircuit(2, 2, global_phase=p)
    circuit.rx(p, 0)
    circuit.append(UnitaryGate(matrix), [0])
    circuit.append(UnitaryGate(CXGate().to_matrix()), [1, 0])
    circuit.csx(0, 1)
    circuit.append(UnitaryGate(matrix), [1])
    circuit.measure([0, 1], [1, 0])
    template = Template(circuit, (p,), (), "")
    engine = AerEngine(LIMITS)
    (row,) = sample(engine.prepare(template), np.array([[0.7]]), np.array([20000]), 4)
    assert fits(row, ideal(template, [0.7]))


@pytest.mark.slow
@pytest.mark.parametrize("method", [0, 1])
def test_noise_at_gates_and_deferred_measurements(method: int) -> None:
    """The exact distribution has noise from the real measurements, in the middle of the circuit."""
    model = some_noise()
    engine = AerEngine(LIMITS, noise=as_noise(model))
    assert engine.name == "aer cpu, noise custom"
    assert not engine.defers_measurements
    for tensor in tensors_of(circuit_of_four()):
        template, rows = some_variants(tensor, deferred=False)[-1]
        prepared = engine.prepare(template)
        assert prepared.methods[1].circuit.num_qubits > prepared.methods[0].circuit.num_qubits
        if method == 0:
            prepared = replace(prepared, methods=prepared.methods[:1])
        shots = np.full(len(rows), 40000 if method else 3000)
        counts = sample(prepared, rows, shots, 5)
        compiled = compile_for_noise(template.circuit, as_noise(model))
        for row, angles in zip(counts, rows, strict=True):
            values = dict(zip(template.parameters, angles, strict=True))
            exact = noisy(compiled.assign_parameters(values), model)
            assert row[1].sum() == shots[0]
            assert fits(row, exact)
            if method:
                assert not fits(row, noisy(compiled.assign_parameters(values), NoiseModel()))


@pytest.mark.slow
def test_trajectories_do_not_depend_on_threads() -> None:
    template, rows = some_variants(tensors_of(circuit_of_four())[0], deferred=False)[-1]
    rows = np.repeat(rows[:1], 3, axis=0)
    answers = []
    for threads in (1, 2):
        engine = AerEngine(replace(LIMITS, threads=threads), noise=as_noise(some_noise()))
        prepared = engine.prepare(template)
        assert prepared.choose_method(20) is prepared.methods[0]
        answers.append(sample(prepared, rows, np.array([20, 20, 19]), 10))
    assert same(*answers)
    assert [int(times.sum()) for _, times in answers[0]] == [20, 20, 19]


@pytest.mark.slow
def test_single_precision() -> None:
    single = Limits(1 << 30, precision="single")
    template, rows = some_variants(tensors_of(circuit_of_four())[0], deferred=True)[-1]
    engine = AerEngine(single)
    counts = sample(engine.prepare(template), rows, np.full(len(rows), 9000), 11)
    assert all(fits(row, ideal(template, values)) for row, values in zip(counts, rows, strict=True))
    model = some_noise()
    engine = AerEngine(single, noise=as_noise(model))
    template, rows = some_variants(tensors_of(circuit_of_four())[0], deferred=False)[-1]
    counts = sample(engine.prepare(template), rows, np.full(len(rows), 9000), 12)
    compiled = compile_for_noise(template.circuit, as_noise(model))
    for row, angles in zip(counts, rows, strict=True):
        values = dict(zip(template.parameters, angles, strict=True))
        assert fits(row, noisy(compiled.assign_parameters(values), model))


def test_readout_error_of_a_deferred_measurement() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.x(1)
    circuit.measure(1, 1)
    circuit.x(1)
    circuit.measure(1, 0)
    model = NoiseModel(["x"])
    model.add_readout_error(ReadoutError([[1, 0], [0.25, 0.75]]), [1])
    engine = AerEngine(LIMITS, noise=as_noise(model))
    prepared = engine.prepare(Template(circuit, (), (), ""))
    shots = np.array([20000])
    (row,) = sample(prepared, np.empty((1, 0)), shots, 6)
    assert prepared.methods[1].circuit.num_qubits == 2
    assert prepared.choose_method(20000).method == "density_matrix"
    assert fits(row, {0b10: 0.75, 0b00: 0.25})


def test_measurements_that_disturb_are_not_deferred() -> None:
    circuit = QuantumCircuit(1, 2)
    circuit.measure(0, 1)
    circuit.measure(0, 0)
    model = NoiseModel()
    model.add_all_qubit_quantum_error(pauli_error([("X", 0.25), ("I", 0.75)]), "measure")
    engine = AerEngine(LIMITS, noise=as_noise(model))
    prepared = engine.prepare(Template(circuit, (), (), ""))
    assert len(prepared.methods) == 1
    (row,) = sample(prepared, np.empty((1, 0)), np.array([4000]), 7)
    assert fits(row, {0b00: 9 / 16, 0b11: 3 / 16, 0b10: 1 / 16, 0b01: 3 / 16})


@pytest.mark.slow
def test_noise_of_a_fake_backend_stays_on_its_qubits() -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    noise = read_noise("fake_manila")
    engine = AerEngine(LIMITS, noise=noise)
    assert engine.name == "aer cpu, noise fake_manila"
    model = noise.model()
    template, rows = some_variants(tensors_of(circuit_of_four())[0], deferred=False)[-1]
    prepared = engine.prepare(template)
    assert prepared.methods[1].circuit.num_qubits <= 5
    counts = sample(prepared, rows, np.full(len(rows), 100000), 8)
    compiled = compile_for_noise(template.circuit, noise)
    assert compiled.num_qubits == 5
    for row, angles in zip(counts, rows, strict=True):
        values = dict(zip(template.parameters, angles, strict=True))
        assert fits(row, noisy(compiled.assign_parameters(values), model))
    wide = QuantumCircuit(6, 1)
    wide.measure(0, 0)
    with pytest.raises(InputError, match=r"fake_manila has 5 qubits, but a subcircuit needs 6"):
        engine.prepare(Template(wide, (), (), ""))


def test_couplings_of_noise_are_respected() -> None:
    model = NoiseModel(["sx", "rz", "cx"])
    for pair in ([3, 4], [4, 3], [4, 5], [5, 4]):
        model.add_quantum_error(depolarizing_error(0.1, 2), "cx", pair)
    engine = AerEngine(LIMITS, noise=as_noise(model))
    circuit = QuantumCircuit(3, 3)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.measure(range(3), range(3))
    prepared = engine.prepare(Template(circuit, (), (), ""))
    (row,) = sample(prepared, np.empty((1, 0)), np.array([50000]), 9)
    assert len(row[0]) == 8
    wide = QuantumCircuit(4, 1)
    wide.measure(0, 0)
    with pytest.raises(InputError, match="on 3 qubits only, but a subcircuit needs 4"):
        engine.prepare(Template(wide, (), (), ""))


def test_refusals() -> None:
    circuit = QuantumCircuit(20, 1)
    circuit.h(0)
    for qubit in range(19):
        circuit.cx(qubit, qubit + 1)
    circuit.measure(19, 0)
    engine = AerEngine(Limits(1 << 20))
    with pytest.raises(EngineError, match="Aer failed on a circuit of 20 qubits"):
        sample(engine.prepare(Template(circuit, (), (), "")), np.empty((1, 0)), np.array([1]), 0)
    prepared = engine.prepare(Template(circuit, (), (), ""))
    with pytest.raises(InputError, match="at least 1"):
        sample(prepared, np.empty((1, 0)), np.array([0]), 0)
    with pytest.raises(InputError, match=r"expected \(n, 0\)"):
        sample(prepared, np.empty((1, 1)), np.array([1]), 0)
