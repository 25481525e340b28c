"""A noisy run gives what the noisy subcircuits give when they are contracted exactly."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Instruction
from qiskit.quantum_info import DensityMatrix, Operator, SuperOp
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error

import hpcq
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.estimator import Estimator, ShotRound
from hpcq.reconstruction.estimation.outcome_signals import first_inversions

DEPOLARIZING = depolarizing_error(0.06, 2)
"""Error of a gate on two qubits."""

CONFUSION = np.array([[0.97, 0.03], [0.08, 0.92]])
"""Probabilities of the outcomes that are read, a row for each true one."""

ENDS = (Operator(np.diag([1, 0])), Operator(np.diag([0, 1])))


def noise() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(DEPOLARIZING, ["cz"])
    model.add_all_qubit_readout_error(ReadoutError(CONFUSION))
    return model


def noisy_distribution(tensor: SampledTensor, variant: int) -> tuple[np.ndarray, np.ndarray]:
    """Follow the density matrix through a variant, with measurements where they stand."""
    settings, basis = tensor.decode(variant)
    template = tensor.template(tensor.measured_ports(settings), deferred=False)
    table = tensor.angles(settings, basis)
    values = [table[column] for column in template.columns]
    bound = template.circuit.assign_parameters(dict(zip(template.parameters, values, strict=True)))
    branches = {0: DensityMatrix.from_label("0" * bound.num_qubits)}
    for instruction in bound.data:
        qubits = [bound.find_bit(qubit).index for qubit in instruction.qubits]
        if instruction.name != "measure":
            branches = {o: evolve(s, instruction.operation, qubits) for o, s in branches.items()}
            continue
        bit = bound.find_bit(instruction.clbits[0]).index
        split: dict[int, DensityMatrix] = {}
        for outcome, state in branches.items():
            for true, end in enumerate(ENDS):
                projected = state.evolve(end, qubits)
                for read in (0, 1):
                    key, part = outcome | read << bit, projected * CONFUSION[true, read]
                    split[key] = split[key] + part if key in split else part
        branches = split
    outcomes = np.array(sorted(branches), dtype=np.uint64)
    chances = np.array([branches[int(o)].trace().real for o in outcomes])
    return outcomes & np.uint64(tensor.bit_mask(settings, basis)), chances


def evolve(state: DensityMatrix, gate: Instruction, qubits: list[int]) -> DensityMatrix:
    state = state.evolve(Operator(gate), qubits)
    return state.evolve(SuperOp(DEPOLARIZING), qubits) if gate.name == "cz" else state


GATE = {"cut_labels": "AABB"}
WIRE = {"cuts": {"gate_cuts": [], "wire_cuts": [{"qubit": 1, "after": 1}]}}


@pytest.mark.slow
@pytest.mark.parametrize("how", [GATE, WIRE])
def test_noisy_subcircuits_contracted_exactly(how: dict[str, object]) -> None:
    rng = np.random.default_rng(4)
    circuit = QuantumCircuit(4)
    for a, b in ((0, 1), (2, 3), (1, 2), (0, 1), (2, 3)):
        for qubit in range(4):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        circuit.cz(a, b)
    circuit.u(0.5, 0.4, 0.3, range(4))
    observables = ["Z0 Z3 + 0.5 X1", "Y2"]
    plan = hpcq.plan(circuit, observables, shots=40_000, threads=1, **how)
    sampling = plan.sampling
    assert sampling is not None
    assert sampling.reconstruction is not None
    counts = tuple(
        Counts.gather(
            tensor.num_variants,
            [(v, *noisy_distribution(tensor, v)) for v in range(tensor.num_variants)],
        )
        for tensor in sampling.sources.tensors
    )
    inversions = tuple(first_inversions(tensor) for tensor in sampling.sources.tensors)
    expected = Estimator(
        sampling.sources, sampling.reconstruction, [ShotRound(1.0, inversions, counts)]
    ).values()
    noisy = hpcq.run(plan, device="cpu", noise=noise())
    assert (np.abs(noisy.expectation_values - expected) < 5 * noisy.standard_errors).all()
    ideal = hpcq.run(
        hpcq.plan(circuit, observables, threads=1, **how), device="cpu"
    ).expectation_values
    assert (np.abs(ideal - expected) > 3 * noisy.standard_errors).any()
