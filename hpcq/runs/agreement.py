"""What ranks compare of a call that all of them make: digests of its arguments.

A rank may pass None for the plan and the rows of parameters, and leave them to rank 0. For the
other arguments of a run, the documentation says whether each rank's own or rank 0's counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ControlledGate, Operation
from qiskit.quantum_info import Pauli, SparseObservable, SparsePauliOp

from hpcq.core.strict_json import digest
from hpcq.parallel.calls import Arguments
from hpcq.parallel.mpi import MpiFarm
from hpcq.parallel.serial import Farm
from hpcq.planning.fingerprint import fingerprint_of
from hpcq.planning.plan import Plan

_OF_A_RANK = ("memory", "memory_bytes", "threads", "ranks", "speeds", "cuts")
"""Options of a plan that depend on the machine: rank 0's count, and the answer is the same."""

_plans: WeakKeyDictionary[Plan, Mapping[str, str]] = WeakKeyDictionary()
"""Digests of plans, kept so that they are computed once for each plan."""


def agree_on_run(
    farm: Farm,
    plan: Any,
    observables: Any,
    planning: Mapping[str, Any],
    rows: Any = None,
    *,
    rows_name: str = "parameter_values",
    name: str = "hpcq.run",
    **others: Any,
) -> None:
    """Make sure that all ranks call a function with the same arguments; collective.

    Args:
        farm: The ranks.
        plan: A plan or a circuit; None on a rank that leaves it to rank 0.
        observables: With a circuit, its observables.
        planning: With a circuit, the options of its plan.
        rows: Values of parameters; None on a rank that leaves them to rank 0.
        rows_name: Name of that argument.
        name: The function.
        others: Its other arguments, which no rank leaves to rank 0.

    Raises:
        InputError: On all ranks, if one of them makes another call or none.
    """
    if not isinstance(farm, MpiFarm):
        return
    of_plan: Mapping[str, str] | None = None
    if isinstance(plan, QuantumCircuit):
        options = {name: each for name, each in planning.items() if name not in _OF_A_RANK}
        of_plan = {
            "circuit": circuit_digest(plan),
            "observables": digest(_plain(observables)),
            **{name: digest(_plain(each)) for name, each in options.items()},
        }
    elif isinstance(plan, Plan):
        if plan not in _plans:
            _plans[plan] = _plan_digests(plan)
        of_plan = _plans[plan]
    of_rows: Mapping[str, str] | None = {rows_name: digest(_plain(rows))}
    if rows is None and farm.rank > 0:
        of_rows = None
    of_others = {key: digest(_plain(each)) for key, each in others.items()}
    compared: Arguments = {"plan": of_plan, "rows": of_rows, "others": of_others}
    farm.calls.agree(name, compared)


def agree_on_call(farm: Farm, name: str, **arguments: Any) -> None:
    """Make sure that all ranks make the same call with the same arguments; collective.

    Raises:
        InputError: On all ranks, if one of them makes another call or none.
    """
    if isinstance(farm, MpiFarm):
        digests = {key: digest(_plain(value)) for key, value in arguments.items()}
        farm.calls.agree(name, {"arguments": digests})


def agree_on_session(farm: Farm) -> None:
    """Make sure that all ranks enter a session; collective.

    Raises:
        InputError: On all ranks, if one of them makes another call or none.
    """
    if isinstance(farm, MpiFarm):
        farm.calls.agree("hpcq.Session", {})


def circuit_digest(circuit: QuantumCircuit) -> str:
    """Return a digest of a circuit's gates, qubits and angles; names of circuits do not count."""
    found = hashlib.sha256()
    _add_circuit(found, circuit)
    return found.hexdigest()


def _add_circuit(found: Any, circuit: QuantumCircuit) -> None:
    place = {bit: number for number, bit in enumerate((*circuit.qubits, *circuit.clbits))}
    gates: list[Any] = [len(circuit.qubits), str(circuit.global_phase)]
    for instruction in circuit.data:
        gates.append(instruction.name)
        gates += [place[bit] for bit in instruction.qubits]
        gates += [place[bit] for bit in instruction.clbits]
        for value in instruction.params:
            if isinstance(value, QuantumCircuit):
                _add_circuit(found, value)
            else:
                gates.append(value.tobytes() if isinstance(value, np.ndarray) else str(value))
        if not instruction.is_standard_gate():
            _add_operation(found, instruction.operation)
    found.update(repr(gates).encode())


def _add_operation(found: Any, operation: Operation) -> None:
    """Add what the name and the parameters of a gate do not determine."""
    if isinstance(operation, ControlledGate):
        found.update(f"{operation.ctrl_state} ".encode())
    definition = getattr(operation, "definition", None)
    if definition is not None:
        _add_circuit(found, definition)


def _plan_digests(plan: Plan) -> Mapping[str, str]:
    config = {
        name: digest(_plain(each)) for name, each in plan.config.items() if name not in _OF_A_RANK
    }
    parts = fingerprint_of(plan)
    return {"circuit": parts["circuit"], "observables": parts["observables"], **config}


def _plain(value: Any) -> Any:
    """Return a value as JSON, with the type alone of what cannot be compared between processes."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, Mapping):
        return [[_plain(key), _plain(each)] for key, each in value.items()]
    if isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        return [array.shape, hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(value, Sequence):
        return [_plain(each) for each in value]
    if isinstance(value, SparsePauliOp):
        return [_plain(each) for each in (value.paulis.z, value.paulis.x, value.coeffs)]
    if isinstance(value, Pauli):
        return value.to_label()
    if isinstance(value, SparseObservable):
        return repr([value.num_qubits, value.to_sparse_list()])
    return type(value).__name__
