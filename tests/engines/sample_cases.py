"""What the tests of samples share: circuits, and a test of outcomes against probabilities."""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector, random_clifford, random_unitary
from scipy.stats import chi2

from hpcq.core.limits import Limits
from hpcq.cutting.subcircuits import Subcircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.protocol import Cost, Engine
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.engines.requests import NO_PARAMETERS, Samples
from hpcq.engines.sampled_outcomes import SampledOutcomes

LEAST_P_VALUE = 1e-5
"""Below it, outcomes are not from a distribution. Seeds are fixed: a test that passes stays so."""


def engine(name: str, limits: Limits | None = None) -> Engine:
    """Open an engine."""
    return open_engine(EngineSpec.of(engine=name), limits or Limits(1 << 30), "cpu")


def piece(circuit: QuantumCircuit) -> ExactTensor:
    """Return a circuit as one piece, even if it falls into parts."""
    return ExactTensor(Subcircuit(circuit, tuple(range(circuit.num_qubits)), ()), ())


def sampled(
    name: str, circuit: QuantumCircuit | ExactTensor, request: Samples, limits: Limits | None = None
) -> SampledOutcomes:
    """Return what an engine draws from a circuit without parameters, checked for its form."""
    tensor = circuit if isinstance(circuit, ExactTensor) else piece(circuit)
    opened = engine(name, limits)
    assert isinstance(opened.supports(tensor, request), Cost)
    (outcomes,) = opened.prepared(tensor).execute(NO_PARAMETERS, request)
    check_form(outcomes, tensor.subcircuit.num_qubits, request.shots)
    return outcomes


def check_form(outcomes: SampledOutcomes, wires: int, shots: int) -> None:
    """Check types, shapes, order and sums."""
    assert outcomes.packed.shape == (len(outcomes.counts), -(-wires // 8))
    assert outcomes.packed.dtype == np.uint8
    assert outcomes.packed.flags.c_contiguous
    assert outcomes.counts.dtype == np.int64
    assert outcomes.counts.min() >= 1
    assert outcomes.counts.sum() == shots
    assert outcomes.log_probabilities.shape == outcomes.counts.shape
    assert outcomes.log_probabilities.dtype == np.float64
    ordered = numbers(outcomes)
    assert ordered == sorted(set(ordered))
    assert ordered[-1] < 1 << wires


def numbers(outcomes: SampledOutcomes) -> list[int]:
    """Return the outcomes as numbers."""
    return [int.from_bytes(octets.tobytes(), "big") for octets in outcomes.packed]


def p_value(outcomes: SampledOutcomes, probabilities: np.ndarray) -> float:
    """Return the probability of outcomes that fit these probabilities no better (chi-square).

    Outcomes that are expected less than 10 times count as one; impossible ones do not fit at all.
    """
    counts = np.zeros(len(probabilities))
    counts[numbers(outcomes)] = outcomes.counts
    if counts[probabilities < 1e-20].any():
        return 0.0
    expected = probabilities / probabilities.sum() * counts.sum()
    rare = expected < 10
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    used = expected > 1e-9
    statistic = ((observed - expected)[used] ** 2 / expected[used]).sum()
    return float(chi2.sf(statistic, used.sum() - 1)) if used.sum() > 1 else 1.0


def probabilities_of(circuit: QuantumCircuit) -> np.ndarray:
    """Return the probabilities of all outcomes of a small circuit."""
    probabilities: np.ndarray = np.abs(Statevector(circuit).data) ** 2
    return probabilities


def random_circuit(num_qubits: int, seed: int, clifford: bool = False) -> QuantumCircuit:
    """Return gates on random pairs of qubits, near or far: any, or Clifford gates."""
    rng = np.random.default_rng([num_qubits, seed])
    circuit = QuantumCircuit(num_qubits)
    for _ in range(2 * num_qubits):
        pair = rng.permutation(num_qubits)[:2].tolist()
        matrix = (
            random_clifford(2, seed=rng).to_matrix() if clifford else random_unitary(4, seed=rng)
        )
        circuit.unitary(matrix, pair)
    return circuit
