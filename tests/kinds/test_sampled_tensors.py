"""With shots without number, variants give what the uncut circuit gives, to 1e-9."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit

import hpcq
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.kinds.shots.records import full_tensor
from hpcq.kinds.shots.sampling import joint_sampling_of
from hpcq.planning.problem import Budget
from hpcq.reconstruction.connected_parts import ConnectedParts
from hpcq.reconstruction.estimation.joint_samples import WeightedPairs
from hpcq.reconstruction.estimation.outcome_signals import SignalReader
from hpcq.reconstruction.sampled_values import Reconstruction
from hpcq.reconstruction.term_table import choice_table
from tests.kinds.distributions import distributions
from tests.support.strategies import circuits, cuts_of, operators, structured, uncut_value

some = settings(max_examples=40)
MAX_VARIANTS = 1000
"""Larger tensors are left out: each variant takes a simulation by Qiskit."""


@st.composite
def plans(draw: st.DrawFn, **limits: int) -> tuple[hpcq.Plan, list[float]]:
    circuit = draw(st.one_of(circuits(), structured()))
    observables = draw(st.lists(operators(circuit.num_qubits), min_size=1, max_size=3))
    plan = hpcq.plan(
        circuit, observables, cuts=draw(cuts_of(circuit, **limits)), threads=1, memory=1 << 60
    )
    if plan.cost.memory_bytes > 16 << 20:
        reject()
    return plan, [uncut_value(circuit, operator) for operator in observables]


@pytest.mark.slow
@settings(max_examples=15)
@given(st.data())
def test_every_inversion_gives_the_uncut_value(data: st.DataObject) -> None:
    check_inversions(data)


@pytest.mark.nightly
@settings(max_examples=400)
@given(st.data())
def test_every_inversion_gives_the_uncut_value_of_many_circuits(data: st.DataObject) -> None:
    check_inversions(data)


def check_inversions(data: st.DataObject) -> None:
    plan, expected = data.draw(plans())
    reconstruction = Reconstruction.of(plan.cut, ConnectedParts.of(plan.cut, plan.terms), 1 << 40)
    lean = data.draw(st.booleans())
    tensors = []
    for subcircuit, strings in zip(plan.cut.subcircuits, plan.terms.strings, strict=True):
        tensor = SampledTensor(subcircuit, strings, lean)
        if tensor.num_variants > MAX_VARIANTS:
            reject()
        inversions = tuple(
            data.draw(st.integers(0, len(port_basis.inversions) - 1))
            for port_basis in tensor.port_bases
        )
        reader = SignalReader(tensor)
        tensors.append(reader.tensor_of(reader.table(distributions(tensor)), inversions))
    assert reconstruction.values(tensors) == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
@some
@given(st.data())
def test_tensors_are_those_of_an_exact_run(data: st.DataObject) -> None:
    plan, _ = data.draw(plans())
    exact = hpcq.run(plan, device="cpu").details
    assert exact is not None
    for subcircuit, strings, expected in zip(
        exact.subcircuits, exact.strings, exact.tensors, strict=True
    ):
        tensor = SampledTensor(subcircuit, strings)
        if tensor.num_variants > MAX_VARIANTS // 4:
            reject()
        reader = SignalReader(tensor)
        inversions = tuple(0 for _ in tensor.port_bases)
        found = full_tensor(
            tensor, reader.tensor_of(reader.table(distributions(tensor)), inversions)
        )
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.slow
@some
@given(st.data())
def test_joint_samples_average_to_the_uncut_value(data: st.DataObject) -> None:
    plan, expected = data.draw(plans(max_gates=2, max_wires=1))
    sampling = joint_sampling_of(plan, Budget(10**6))
    assert all(
        port.shared_with is None
        for subcircuit in sampling.cut.subcircuits
        for port in subcircuit.ports
    )
    pairs = [WeightedPairs.of(edge, sampling.cut).weights for edge in sampling.cut.edges]
    if np.prod([np.count_nonzero(weights) for weights in pairs]) > 2000:
        reject()
    tables = {}
    for number, use in enumerate(sampling.sources.uses):
        if use is not None:
            tensor = sampling.sources.tensors[use]
            if tensor.num_variants > MAX_VARIANTS:
                reject()
            tables[number] = SignalReader(tensor).table(distributions(tensor))
    parts = sampling.parts
    values = []
    for group, picks in zip(parts.groups, parts.picks, strict=True):
        choices = choice_table(picks, len(group))
        part_edges = [e for e, edge in enumerate(sampling.cut.edges) if edge.ends[0][0] in group]
        total = np.zeros(len(choices))
        for drawn in product(*(np.argwhere(np.abs(pairs[e]) > 1e-14).tolist() for e in part_edges)):
            signals = {
                end: signal
                for e, pair in zip(part_edges, drawn, strict=True)
                for end, signal in zip(sampling.cut.edges[e].ends, pair, strict=True)
            }
            weight = np.prod(
                [pairs[e][tuple(pair)] for e, pair in zip(part_edges, drawn, strict=True)]
            )
            for column, k in enumerate(group):
                ports = range(len(sampling.cut.subcircuits[k].ports))
                weight = (
                    weight
                    * tables[k][choices[:, column]][
                        (slice(None), *(signals[k, port] for port in ports))
                    ]
                )
            total += weight
        values.append(total)
    assert parts.combine(values) == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
@some
@given(st.data())
def test_gradients_are_derivatives(data: st.DataObject) -> None:
    plan, _ = data.draw(plans())
    memory = data.draw(st.sampled_from([1 << 40, 1 << 12]))
    parts = ConnectedParts.of(plan.cut, plan.terms)
    try:
        reconstruction = Reconstruction.of(plan.cut, parts, memory)
    except hpcq.InputError:
        reject()
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    tensors, steps = [], []
    for subcircuit, strings in zip(plan.cut.subcircuits, plan.terms.strings, strict=True):
        shape = [len(strings), *(p.dimension**2 for p in SampledTensor(subcircuit, strings).ports)]
        tensors.append(rng.normal(size=shape) + 1j * rng.normal(size=shape))
        steps.append(rng.normal(size=shape) + 1j * rng.normal(size=shape))
    observables = np.arange(parts.num_observables)
    derivatives = np.zeros(len(observables))
    elsewhere = [rng.normal(size=tensor.shape) + 0j for tensor in tensors]
    points = [np.stack([other, tensor]) for other, tensor in zip(elsewhere, tensors, strict=True)]
    for subcircuit, indices, gradient in reconstruction.gradients(points, observables):
        derivatives[indices] += np.sum(
            gradient[1] * steps[subcircuit], axis=tuple(range(1, gradient.ndim - 1))
        ).real
    size = 1e-5
    ahead, behind = (
        reconstruction.values([t + sign * size * s for t, s in zip(tensors, steps, strict=True)])
        for sign in (1, -1)
    )
    scale = 1 + np.abs(derivatives).max()
    np.testing.assert_allclose(
        (ahead - behind) / (2 * size), derivatives, rtol=1e-4, atol=1e-4 * scale
    )


def test_a_qubit_of_a_shared_port_takes_few_settings() -> None:
    """Ten CZs from one qubit are one edge: three measurements of its stand-in, not 6^10 pairs."""
    circuit = QuantumCircuit(6)
    circuit.h(range(6))
    for _ in range(2):
        for qubit in range(1, 6):
            circuit.cz(0, qubit)
            circuit.rx(0.3, qubit)
        for qubit in range(1, 5):
            circuit.cx(qubit, qubit + 1)
    how = {"cut_labels": "ABBBBB", "threads": 1}
    plan = hpcq.plan(circuit, "X0 Z3 Z5", shots=10_000, **how)
    assert [t.num_variants for t in plan.sampling.sources.tensors] == [5, 3]
    assert plan.sampling.gammas == pytest.approx([4.0])
    assert plan.cut.sampling_overhead == pytest.approx(9.0**10)
    exact = hpcq.run(hpcq.plan(circuit, "X0 Z3 Z5", **how), device="cpu").expectation_values
    found = hpcq.run(plan, device="cpu")
    assert found.standard_errors[0] < 0.05
    assert abs(found.expectation_values - exact) < 5 * found.standard_errors


def test_weak_gates_are_cut_one_by_one() -> None:
    """Each adds little to the overhead by itself; their shared edge would cost its full 16."""
    circuit = QuantumCircuit(3)
    circuit.h(range(3))
    for qubit in (1, 2):
        circuit.rzz(0.1, 0, qubit)
    circuit.cx(1, 2)
    plan = hpcq.plan(circuit, "X0 Z1 Z2", cut_labels="ABB", shots=10_000, threads=1)
    assert len(plan.cut.edges) == 1
    assert len(plan.sampling.cut.edges) == 2
    assert plan.sampling.gammas[0] ** 2 == pytest.approx(plan.cut.sampling_overhead)
