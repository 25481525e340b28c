"""Memory, threads and seconds: a plan that is accepted can be run, other values are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector, random_unitary

import hpcq
from hpcq.cli.main import main
from hpcq.core.errors import InputError, MemoryLimitError
from hpcq.core.limits import as_seconds, check_threads
from hpcq.core.system import usable_cores
from hpcq.planning.kind import kind_of


def joined_halves(qubits: int, layers: int) -> QuantumCircuit:
    """Return two halves joined by general gates: ports of dimension 4, and so large tensors."""
    rng = np.random.default_rng(qubits * layers)
    circuit = QuantumCircuit(qubits)
    for layer in range(layers):
        for qubit in range(qubits - 1):
            if qubit == qubits // 2 - 1:
                circuit.unitary(random_unitary(4, seed=layer), [qubit, qubit + 1])
            else:
                circuit.rzz(0.3, qubit, qubit + 1)
        for qubit in range(qubits):
            circuit.u(*rng.uniform(0, 1, 3), qubit)
    return circuit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("qubits", "layers", "kib"), [(16, 3, 1536), (16, 3, 2048), (20, 3, 2048), (24, 3, 2048)]
)
def test_an_accepted_plan_fits_into_memory(qubits: int, layers: int, kib: int) -> None:
    """Once, a task did not fit beside the tensors, or tensors did not after they were sliced."""
    circuit = joined_halves(qubits, layers)
    cut = "A" * (qubits // 2) + "B" * (qubits // 2)
    observables = ["Z0 Z15", "X0", "Y3 Z12"]
    try:
        plan = hpcq.plan(circuit, observables, cut_labels=cut, memory=kib << 10, threads=1)
    except MemoryLimitError:
        return
    assert plan.cost.memory_bytes <= kib << 10
    assert kind_of(plan).with_limits(plan, plan.limits).cost == plan.cost
    if qubits == 16:
        values = hpcq.run(plan, device="cpu").expectation_values
        state = Statevector(circuit)
        exact = [state.expectation_value(as_operator(text, qubits)).real for text in observables]
        np.testing.assert_allclose(values, exact, atol=1e-10)


def as_operator(text: str, qubits: int) -> SparsePauliOp:
    """Return the SparsePauliOp of a sparse Pauli text."""
    factors = [(factor[0], int(factor[1:])) for factor in text.split()]
    letters, qubit_numbers = zip(*factors, strict=True)
    return SparsePauliOp.from_sparse_list([("".join(letters), list(qubit_numbers), 1.0)], qubits)


def test_such_a_plan_is_accepted_with_enough_memory() -> None:
    """Otherwise the test above could pass by refusing every plan."""
    plan = hpcq.plan(
        joined_halves(16, 3), "Z0 Z15", cut_labels="A" * 8 + "B" * 8, memory=4 << 20, threads=1
    )
    assert plan.cost.memory_bytes <= 4 << 20


def test_shots_that_cannot_be_simulated_are_warned_of() -> None:
    circuit = joined_halves(34, 1)
    plan = hpcq.plan(
        circuit, "Z0", cut_labels="A" * 17 + "B" * 17, memory=1 << 20, threads=1, shots=100
    )
    assert "warning: `hpcq run` refuses to simulate it (memory: subcircuit" in str(plan)
    with pytest.raises(InputError, match="memory: subcircuit"):
        hpcq.run(plan)


def test_threads_are_limited_by_the_cores() -> None:
    check_threads(8, 2)
    with pytest.raises(InputError, match="threads: 9, expected at most 8: a rank may run on 2 co"):
        check_threads(9, 2)
    circuit = QuantumCircuit(2)
    circuit.cz(0, 1)
    with pytest.raises(InputError, match="threads: 100000, expected at most 4096"):
        hpcq.plan(circuit, "Z0", cut_labels="AB", threads=100_000)
    many = 4 * len(usable_cores()) + 1
    plan = hpcq.plan(circuit, "Z0", cut_labels="AB", threads=many)  # for a larger machine
    with pytest.raises(InputError, match=f"threads: {many}, expected at most"):
        hpcq.run(plan)


@pytest.mark.parametrize("name", ["checkpoint_seconds", "claim_seconds", "time_limit"])
@pytest.mark.parametrize("value", [-5, 0, float("nan"), float("inf"), "60", True, [1], 10**400])
def test_an_invalid_number_of_seconds_is_refused(name: str, value: object) -> None:
    plan = hpcq.plan(joined_halves(2, 1), ["Z0"], threads=1)
    with pytest.raises(InputError, match=f"^{name}: .*, expected a number of seconds above 0$"):
        hpcq.run(plan, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [60, 0.5, np.int64(60), np.float32(2.5)])
def test_seconds_are_numbers_of_any_type(value: float) -> None:
    assert as_seconds(value, "time_limit") == float(value)


@pytest.mark.parametrize("value", ["-5", "nan", "inf", "true", "'soon'", "0"])
@pytest.mark.parametrize("name", ["checkpoint-seconds", "claim-seconds", "time-limit"])
def test_job_files_and_flags_refuse_the_same_values(
    name: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = tmp_path / "job.toml"
    job.write_text(f"circuit = 'example:lattices'\n{name} = {value}\n")
    for arguments in ([str(job)], ["example:lattices", f"--{name}={value}"]):
        assert main(["run", *arguments]) == 2
        (message,) = capsys.readouterr().err.splitlines()
        assert message.startswith("hpcq: error: ")
        assert name in message


@pytest.mark.parametrize("memory", [10**30, 1 << 10_000, 1 << 19, "1G", 2.5e9])
def test_memory_that_no_machine_has_is_refused(memory: object) -> None:
    with pytest.raises(InputError, match=r"memory: .*, expected .* bytes"):
        hpcq.plan(QuantumCircuit(2), "Z0", memory=memory)
