"""The methods that outcomes.py measures: hpcq's answers about outcomes, and Aer's samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from outcome_cases import MARGINAL_QUBITS, NUM_OUTCOMES, NUM_TOP, Case
from workloads import z_string

import hpcq


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        label: What it is, for tables.
        prepare: Returns what a turn needs and the clock does not count.
        call: What is measured; it gets what was prepared.
    """

    label: str
    prepare: Callable[[int], Any]
    call: Callable[[Any], Any]


def bit_strings(case: Case, number: int, seed: int) -> list[str]:
    """Return random outcomes of all qubits of a case."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 2, (number, case.blocks.num_qubits), dtype=np.uint8) + ord("0")
    return [row.tobytes().decode() for row in rows]


def some_qubits(case: Case, seed: int) -> list[int]:
    """Return random qubits of a case, of which the marginal is asked for."""
    rng = np.random.default_rng(seed)
    number = min(MARGINAL_QUBITS, case.blocks.num_qubits)
    chosen: list[int] = rng.permutation(case.blocks.num_qubits)[:number].tolist()
    return chosen


def fresh_plan(case: Case) -> Any:
    """Return a plan for outcomes that has not simulated anything."""
    blocks = case.blocks
    return hpcq.plan_outcomes(blocks.circuit(), cut_labels=blocks.partition, threads=1)


def methods_of(case: Case) -> dict[str, Method]:
    """Return all methods of a case."""
    simulated = hpcq.outcomes(fresh_plan(case))
    methods = {"pieces": _pieces(case)}
    for shots in case.shots:
        methods[f"drawn-{shots}"] = _draws(simulated, shots)
    if case.draws_only:
        return methods
    for shots in case.shots:
        methods[f"samples-{shots}"] = _samples(case, shots)
    for method in case.peers:
        methods[method] = _aer(case, method, min(case.shots))
    return methods | {
        "expectation": _expectation(case),
        "amplitudes": Method(
            f"{NUM_OUTCOMES} amplitudes",
            lambda turn: bit_strings(case, NUM_OUTCOMES, turn),
            simulated.amplitudes,
        ),
        "marginal": Method(
            f"marginal of {MARGINAL_QUBITS} qubits",
            lambda turn: some_qubits(case, turn),
            simulated.marginal,
        ),
        "top": Method(f"{NUM_TOP} most probable", lambda _: NUM_TOP, simulated.top),
    }


def _expectation(case: Case) -> Method:
    blocks = case.blocks
    from qiskit.quantum_info import SparsePauliOp

    terms = z_string(blocks.num_qubits, blocks.num_qubits)
    observable = SparsePauliOp.from_sparse_list(terms, blocks.num_qubits)
    plan = hpcq.plan(blocks.circuit(), observable, cut_labels=blocks.partition, threads=1)
    return Method("a run of hpcq for one expectation value", lambda _: plan, hpcq.run)


def _samples(case: Case, shots: int) -> Method:
    def call(prepared: tuple[Any, int]) -> Any:
        plan, seed = prepared
        return hpcq.outcomes(plan).sample(shots, seed=seed)

    return Method(
        f"{shots} samples, simulation included", lambda turn: (fresh_plan(case), turn), call
    )


def _draws(simulated: Any, shots: int) -> Method:
    def call(seed: int) -> Any:
        return simulated.sample(shots, seed=seed)

    return Method(f"{shots} samples, simulated already", lambda turn: turn, call)


def _pieces(case: Case) -> Method:
    """Return Aer's simulations of the subcircuits alone, with their ancillas."""
    circuits = []
    for tensor in fresh_plan(case).tensors:
        circuit = tensor.circuit()
        circuit.save_statevector()
        circuits.append(circuit)
    simulator = _simulator("statevector")

    def call(_: Any) -> None:
        for circuit in circuits:
            _result = simulator.run(circuit).result().data()["statevector"]

    return Method("Aer, states of the same subcircuits alone", lambda _: None, call)


def _aer(case: Case, method: str, shots: int) -> Method:
    circuit = case.blocks.circuit()
    circuit.measure_all()
    names = {"mps": "matrix_product_state", "statevector": "statevector"}
    simulator = _simulator(names[method])

    def call(seed: int) -> Any:
        result = simulator.run(circuit, shots=shots, seed_simulator=seed).result()
        return result.data(0)["counts"]

    label = {"mps": "Aer MPS", "statevector": "Aer statevector"}[method]
    return Method(f"{label}, {shots} samples of the uncut circuit", lambda turn: turn, call)


def _simulator(method: str) -> Any:
    from qiskit_aer import AerSimulator

    return AerSimulator(method=method, max_parallel_threads=1)
