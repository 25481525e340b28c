"""What an instruction is made of: gates on one or two qubits, measurements, resets.

A circuit may hold a gate thousands of times, and a gate may hold gates that hold gates, so a
definition is opened once and kept as a node of an acyclic graph. The size of the whole is known
from the graph before anything is written out: a file of twenty lines can ask for 2**40 gates.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Gate, Instruction
from qiskit.circuit import library as gates
from qiskit.circuit.library import UnitaryGate, get_standard_gate_name_mapping
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator
from qiskit.transpiler.passes import HighLevelSynthesis

from hpcq.circuits.angles import reduced_parameters, with_reduced_angles
from hpcq.circuits.unitary import nearest_unitary, unitary_error

MAX_NESTING = 200
"""Levels of gates within gates; each costs a few frames of Python's own stack."""

_MAX_UNITARY_ERROR = 1e-6
_MAX_FUSED = 1000
_MAPPING = get_standard_gate_name_mapping()
STANDARD = {
    name: gate._standard_gate for name, gate in _MAPPING.items() if hasattr(gate, "_standard_gate")
}
# Gates that are the same whenever class, width, control state and parameters are the same.
_DEFINED_BY_PARAMETERS = {gate.base_class for gate in _MAPPING.values()} | {
    gates.MCXGate,
    gates.MCPhaseGate,
}
_CLASSICAL = {
    "if_else": "classical control",
    "for_loop": "a loop",
    "while_loop": "a loop",
    "switch_case": "classical control",
    "break_loop": "a loop",
    "continue_loop": "a loop",
    "store": "a classical variable",
}


class RefusedError(Exception):
    """Why an instruction cannot be used; whoever knows the qubits makes it an `InputError`."""


@dataclass(frozen=True, eq=False)
class BasicOperation:
    """An instruction that is not opened any further.

    `kind` is "gate", "measure" or "reset"; `operation` is what to append, a one- or two-qubit
    gate for the first kind.
    """

    kind: str
    name: str
    operation: Any = None


@dataclass(frozen=True, eq=False)
class Definition:
    """An instruction made of `steps` on its own qubits 0, 1, ...; `size` counts the leaves."""

    name: str
    steps: tuple[tuple[BasicOperation | Definition, tuple[int, ...]], ...]
    size: int
    phase: float


def finite(value: Any, what: str) -> float:
    """Return a number or a bound expression as a float, or say why it is none."""
    unbound = getattr(value, "parameters", None)
    if unbound:
        names = ", ".join(sorted(repr(parameter.name) for parameter in unbound))
        raise RefusedError(f"{what} depends on {names}, which has no value")
    try:
        number = complex(value)
    except (TypeError, ValueError, OverflowError, QiskitError):
        raise RefusedError(f"{what} is {_short(value)}, expected a finite number") from None
    if number.imag != 0 or not cmath.isfinite(number):
        raise RefusedError(f"{what} is {_short(value)}, expected a finite real number")
    return number.real


def leaf_parameters(name: str, values: Sequence[Any]) -> list[float]:
    """Return the parameters of a standard gate as finite floats, large angles reduced."""
    numbers = [
        value
        if type(value) is float and math.isfinite(value)
        else finite(value, f"parameter {index} of {name!r}")
        for index, value in enumerate(values)
    ]
    return reduced_parameters(name, numbers)


def check_distinct(qubits: Sequence[int]) -> None:
    """Refuse an instruction that names a qubit twice, as a hand-made QPY file can."""
    if len(qubits) > 1 and len(set(qubits)) != len(qubits):
        raise RefusedError("it names a qubit twice")


def is_ignored(instruction: CircuitInstruction) -> bool:
    """Tell whether an instruction leaves the state alone: barriers, delays, `id`, save marks."""
    name = instruction.name
    if name in ("barrier", "delay", "id"):
        return name != "id" or bool(instruction.is_standard_gate())
    if instruction.is_standard_gate():
        return False
    operation = instruction.operation
    return not isinstance(operation, Gate) and (
        bool(getattr(operation, "_directive", False)) or name.startswith(("save_", "snapshot"))
    )


class Expander:
    """Opens instructions and remembers what it found.

    Args:
        unique_names: Gates of the same class, name, width and parameters are the same gate, as
            within one OpenQASM program. Python objects may share a name and differ.
    """

    def __init__(self, unique_names: bool = False) -> None:
        self._unique_names = unique_names
        self._known: dict[Hashable, BasicOperation | Definition] = {}
        self._kept: list[Any] = []  # an id is only a key while its object lives
        self._depth = 0

    def open(self, instruction: CircuitInstruction) -> BasicOperation | Definition:
        """Return the leaf or the graph of an instruction.

        Raises:
            RefusedError: It is not unitary, or nobody knows what it does.
        """
        if instruction.is_standard_gate() and len(instruction.qubits) <= 2:
            return _standard_leaf(instruction)
        operation = instruction.operation
        keys = self._keys(operation)
        for key in keys:
            if key in self._known:
                return self._known[key]
        if self._depth >= MAX_NESTING:
            raise RefusedError(f"gates are nested more than {MAX_NESTING} levels deep")
        self._depth += 1
        try:
            found = self._look_into(operation, len(instruction.qubits))
        finally:
            self._depth -= 1
        self._kept.append(operation)
        for key in keys:
            self._known[key] = found
        return found

    def _keys(self, operation: Any) -> list[Hashable]:
        keys: list[Hashable] = [id(operation)]
        kind = getattr(operation, "base_class", type(operation))
        if kind in _DEFINED_BY_PARAMETERS or (self._unique_names and _is_plain_gate(operation)):
            numbers = tuple(operation.params)
            if all(isinstance(number, (int, float)) for number in numbers):
                state = getattr(operation, "ctrl_state", None)
                keys.append((kind, operation.name, operation.num_qubits, state, numbers))
        return keys

    def _look_into(self, operation: Any, num_qubits: int) -> BasicOperation | Definition:
        name = str(operation.name)
        if name in _CLASSICAL:
            raise RefusedError(f"{_CLASSICAL[name]} is not supported")
        if getattr(operation, "condition", None) is not None:
            raise RefusedError("classical control is not supported")
        if name in ("measure", "reset") and not isinstance(operation, Gate):
            return BasicOperation(name, name)
        for index, value in enumerate(getattr(operation, "params", ())):
            if isinstance(value, float) and not math.isfinite(value):
                finite(value, f"parameter {index} of {name!r}")
        operation = with_reduced_angles(operation)
        if isinstance(operation, UnitaryGate):
            matrix = _checked_unitary(operation.to_matrix(), num_qubits)
            if num_qubits == 0:
                return Definition(name, (), 0, cmath.phase(matrix[0, 0]))
            if num_qubits <= 2:
                return BasicOperation("gate", name, UnitaryGate(matrix, check_input=False))
        if name == "box" and getattr(operation, "blocks", None):
            return self._block(name, operation.blocks[0], num_qubits)
        definition = _definition(operation, num_qubits)
        if definition is not None:
            return _fused(self._block(name, definition, num_qubits), num_qubits)
        if num_qubits <= 2 and isinstance(operation, Instruction):
            return BasicOperation("gate", name, UnitaryGate(_matrix(operation), check_input=False))
        raise RefusedError("it is not unitary, or it has no definition in gates")

    def _block(self, name: str, definition: QuantumCircuit, num_qubits: int) -> Definition:
        if definition.num_qubits != num_qubits:
            raise RefusedError(
                f"its definition has {definition.num_qubits} qubits, not {num_qubits}"
            )
        index = {qubit: i for i, qubit in enumerate(definition.qubits)}
        steps: list[tuple[BasicOperation | Definition, tuple[int, ...]]] = []
        size, phase = 0, finite(definition.global_phase, f"the global phase of {name!r}")
        for instruction in definition.data:
            if is_ignored(instruction):
                continue
            if instruction.name == "global_phase" and instruction.is_standard_gate():
                phase += leaf_parameters("global_phase", instruction.params)[0]
                continue
            step = self.open(instruction)
            if isinstance(step, Definition):
                phase += step.phase
                size += step.size
                if not step.steps:
                    continue
            else:
                size += 1
            local = tuple(index[qubit] for qubit in instruction.qubits)
            check_distinct(local)
            steps.append((step, local))
        return Definition(name, tuple(steps), size, math.remainder(phase, math.tau))


def _standard_leaf(instruction: CircuitInstruction) -> BasicOperation:
    name = instruction.name
    return BasicOperation("gate", name, (STANDARD[name], leaf_parameters(name, instruction.params)))


def _fused(block: Definition, num_qubits: int) -> BasicOperation | Definition:
    """Keep a gate on two qubits that is made of several, such as CX RZ CX, as one matrix.

    As one gate it is one cut, of dimension 2 or 4; opened, each of its gates would be a cut.
    """
    if num_qubits != 2 or block.size > _MAX_FUSED:
        return block
    leaves = list(_leaves(block, (0, 1)))
    if any(leaf.kind != "gate" for leaf, _ in leaves) or sum(len(q) == 2 for _, q in leaves) < 2:
        return block
    whole = QuantumCircuit(2, global_phase=block.phase)
    for leaf, qubits in leaves:
        operation = leaf.operation
        if isinstance(operation, tuple):
            places = tuple(whole.qubits[q] for q in qubits)
            whole.append(CircuitInstruction.from_standard(operation[0], places, operation[1]))
        else:
            whole.append(operation, qubits)
    matrix = Operator(whole).data
    return BasicOperation(
        "gate", block.name, UnitaryGate(matrix, label=block.name, check_input=False)
    )


def _leaves(
    block: Definition, qubits: tuple[int, ...]
) -> Iterator[tuple[BasicOperation, tuple[int, ...]]]:
    for step, local in block.steps:
        places = tuple(qubits[i] for i in local)
        if isinstance(step, Definition):
            yield from _leaves(step, places)
        else:
            yield step, places


def _is_plain_gate(operation: Any) -> bool:
    """A gate whose class adds nothing to its name, and no modifier hides in it."""
    return isinstance(operation, Gate) and type(operation).__name__ in ("Gate", "_DefinedGate")


def _definition(operation: Any, num_qubits: int) -> QuantumCircuit | None:
    try:
        definition: QuantumCircuit | None = getattr(operation, "definition", None)
    except MemoryError:
        raise
    except Exception as error:  # a definition is code of its gate's author
        reason = _short(getattr(error, "message", error))
        raise RefusedError(f"its definition failed: {reason}") from None
    return _synthesise(operation, num_qubits) if definition is None else definition


def _synthesise(operation: Any, num_qubits: int) -> QuantumCircuit | None:
    whole = QuantumCircuit(num_qubits, getattr(operation, "num_clbits", 0))
    whole.append(operation, range(num_qubits), range(whole.num_clbits))
    try:
        found: QuantumCircuit = HighLevelSynthesis(qubits_initially_zero=False)(whole)
    except MemoryError:
        raise
    except Exception:  # plugins, and code of the gate's author
        return None
    unchanged = [step.name for step in found.data] == [operation.name]
    return None if unchanged else found


def _matrix(operation: Instruction) -> np.ndarray:
    try:
        matrix = operation.to_matrix()
    except (AttributeError, QiskitError, TypeError, ValueError):
        raise RefusedError("it is not unitary, or it has no definition in gates") from None
    return _checked_unitary(matrix, operation.num_qubits)


def _checked_unitary(matrix: Any, num_qubits: int) -> np.ndarray:
    array = np.asarray(matrix, dtype=complex)
    if array.shape != (2**num_qubits, 2**num_qubits):
        raise RefusedError(f"its matrix has shape {array.shape}, expected {2**num_qubits} rows")
    error = unitary_error(array)
    if not error <= _MAX_UNITARY_ERROR:
        raise RefusedError(f"its matrix is not unitary (off by {error:.1e})")
    return nearest_unitary(array)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
