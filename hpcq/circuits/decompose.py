"""Expand instructions into gates on one or two qubits, measurements and resets.

A circuit may hold a gate thousands of times, and gates may be nested, so each definition is
expanded once and kept as a node of an acyclic graph. The graph gives the number of gates before any
is written out: a file of twenty lines can ask for 2**40 gates.
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

from hpcq.circuits.angles import reduce_operation, reduce_parameters
from hpcq.circuits.loader_errors import one_line
from hpcq.circuits.unitary import nearest_unitary, unitary_error

MAX_NESTING = 200
"""Largest depth of nested definitions; each level takes a few frames of Python's stack."""

_MAX_UNITARY_ERROR = 1e-6
"""Largest entry of U^dagger U - 1 of a matrix that is taken for unitary and made so; room for
matrices that were written with about seven digits."""

_MAX_FUSED = 1000
"""Most gates of a two-qubit definition that is fused into one matrix; multiplying more takes time,
and so many gates are rarely one gate."""

_MAPPING = get_standard_gate_name_mapping()
STANDARD = {
    name: gate._standard_gate for name, gate in _MAPPING.items() if hasattr(gate, "_standard_gate")
}
# Gates are equal if class, width, control state and parameters are equal.
_DEFINED_BY_PARAMETERS = {gate.base_class for gate in _MAPPING.values()}
_DEFINED_BY_PARAMETERS |= {gates.MCXGate, gates.MCPhaseGate}
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
    """The reason why an instruction cannot be used; the caller adds the qubits: an `InputError`."""


@dataclass(frozen=True, eq=False)
class BasicOperation:
    """An instruction that is not expanded any further.

    `kind` is "gate", "measure" or "reset"; `operation` is the one- or two-qubit gate to append, or
    a pair of a standard gate and its parameters, for the first kind.
    """

    kind: str
    name: str
    operation: Any = None


@dataclass(frozen=True, eq=False)
class Definition:
    """An instruction made of `steps` on its qubits 0, 1, ...; `size` counts basic operations.

    Each step comes with the qubits and the classical bits that it acts on.
    """

    name: str
    steps: tuple[tuple[BasicOperation | Definition, tuple[int, ...], tuple[int, ...]], ...]
    size: int
    phase: float


def finite_float(value: Any, what: str) -> float:
    """Return a number or a bound expression as a float.

    Raises:
        RefusedError: The value is unbound, complex or not finite.
    """
    unbound = getattr(value, "parameters", None)
    if unbound:
        names = ", ".join(sorted(repr(parameter.name) for parameter in unbound))
        raise RefusedError(f"{what} depends on {names}, which has no value")
    try:
        number = complex(value)
    except (TypeError, ValueError, OverflowError, QiskitError):
        raise RefusedError(f"{what} is {one_line(value, 80)}, expected a finite number") from None
    if number.imag != 0 or not cmath.isfinite(number):
        raise RefusedError(f"{what} is {one_line(value, 80)}, expected a finite real number")
    return number.real


def leaf_parameters(name: str, values: Sequence[Any]) -> list[float]:
    """Return the parameters of a standard gate as finite floats, large angles reduced."""
    numbers = list(values)
    for index, value in enumerate(values):
        if type(value) is not float or not math.isfinite(value):
            numbers[index] = finite_float(value, f"parameter {index} of {name!r}")
    return reduce_parameters(name, numbers)


def check_distinct(qubits: Sequence[int]) -> None:
    """Raise an error if an instruction names a qubit twice, as a hand-made QPY file can."""
    if len(qubits) > 1 and len(set(qubits)) != len(qubits):
        raise RefusedError("it names a qubit twice")


def is_ignored(instruction: CircuitInstruction) -> bool:
    """Return whether an instruction leaves the state unchanged: barrier, delay, `id`, save mark."""
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
    """Expand instructions, each different one once.

    Args:
        unique_names: Whether gates of the same class, name, width and parameters are equal, as
            within one OpenQASM program. Python objects may share a name and differ.
    """

    def __init__(self, unique_names: bool = False) -> None:
        self._unique_names = unique_names
        self._known: dict[Hashable, BasicOperation | Definition] = {}
        self._alive: list[Any] = []  # an id is unique only while its object lives
        self._depth = 0

    def expand(self, instruction: CircuitInstruction) -> BasicOperation | Definition:
        """Return the basic operation or the definition of an instruction.

        Raises:
            RefusedError: The instruction is not unitary, or has no definition.
        """
        if instruction.is_standard_gate() and len(instruction.qubits) <= 2:
            name = instruction.name
            parameters = leaf_parameters(name, instruction.params)
            return BasicOperation("gate", name, (STANDARD[name], parameters))
        operation = instruction.operation
        keys = self._keys(operation)
        for key in keys:
            if key in self._known:
                return self._known[key]
        if self._depth >= MAX_NESTING:
            raise RefusedError(f"gates are nested more than {MAX_NESTING} levels deep")
        self._depth += 1
        try:
            node = self._expand_new(operation, len(instruction.qubits))
        finally:
            self._depth -= 1
        self._alive.append(operation)
        for key in keys:
            self._known[key] = node
        return node

    def _keys(self, operation: Any) -> list[Hashable]:
        keys: list[Hashable] = [id(operation)]
        kind = getattr(operation, "base_class", type(operation))
        if kind in _DEFINED_BY_PARAMETERS or (self._unique_names and _is_plain_gate(operation)):
            numbers = tuple(operation.params)
            if all(isinstance(number, (int, float)) for number in numbers):
                state = getattr(operation, "ctrl_state", None)
                keys.append((kind, operation.name, operation.num_qubits, state, numbers))
        return keys

    def _expand_new(self, operation: Any, num_qubits: int) -> BasicOperation | Definition:
        name = str(operation.name)
        if name in _CLASSICAL:
            raise RefusedError(f"{_CLASSICAL[name]} is not supported")
        if getattr(operation, "condition", None) is not None:
            raise RefusedError("classical control is not supported")
        if name in ("measure", "reset") and not isinstance(operation, Gate):
            return BasicOperation(name, name)
        for index, value in enumerate(getattr(operation, "params", ())):
            if isinstance(value, float) and not math.isfinite(value):
                finite_float(value, f"parameter {index} of {name!r}")
        operation = reduce_operation(operation)
        if isinstance(operation, UnitaryGate):
            matrix = _checked_unitary(operation.to_matrix(), num_qubits)
            if num_qubits == 0:
                return Definition(name, (), 0, cmath.phase(matrix[0, 0]))
            if num_qubits <= 2:
                return BasicOperation("gate", name, UnitaryGate(matrix, check_input=False))
        definition = definition_of(operation, num_qubits)
        if definition is not None:
            block = self._block(name, definition)
            return block if name == "box" else _fused(block, num_qubits)
        if num_qubits <= 2 and isinstance(operation, Instruction):
            return BasicOperation("gate", name, UnitaryGate(_matrix(operation), check_input=False))
        raise RefusedError("it is not unitary, or it has no definition in gates")

    def _block(self, name: str, definition: QuantumCircuit) -> Definition:
        index = {qubit: i for i, qubit in enumerate(definition.qubits)}
        bit_index = {bit: i for i, bit in enumerate(definition.clbits)}
        steps: list[tuple[BasicOperation | Definition, tuple[int, ...], tuple[int, ...]]] = []
        size, phase = 0, finite_float(definition.global_phase, f"the global phase of {name!r}")
        for instruction in definition.data:
            if is_ignored(instruction):
                continue
            if instruction.name == "global_phase" and instruction.is_standard_gate():
                phase += leaf_parameters("global_phase", instruction.params)[0]
                continue
            step = self.expand(instruction)
            if isinstance(step, Definition):
                phase += step.phase
                size += step.size
                if not step.steps:
                    continue
            else:
                size += 1
            local = tuple(index[qubit] for qubit in instruction.qubits)
            check_distinct(local)
            steps.append((step, local, tuple(bit_index[bit] for bit in instruction.clbits)))
        return Definition(name, tuple(steps), size, math.remainder(phase, math.tau))


def _fused(block: Definition, num_qubits: int) -> BasicOperation | Definition:
    """Return a two-qubit gate that is made of several, such as CX RZ CX, as one matrix.

    Fused, it is one cut of dimension 2 or 4; expanded, each of its two-qubit gates would be a cut.
    """
    if num_qubits != 2 or block.size > _MAX_FUSED:
        return block
    leaves = list(_leaves(block, (0, 1)))
    if any(leaf.kind != "gate" for leaf, _ in leaves) or sum(len(q) == 2 for _, q in leaves) < 2:
        return block
    circuit = QuantumCircuit(2, global_phase=block.phase)
    for leaf, qubits in leaves:
        operation = leaf.operation
        if isinstance(operation, tuple):
            operands = tuple(circuit.qubits[q] for q in qubits)
            circuit.append(CircuitInstruction.from_standard(operation[0], operands, operation[1]))
        else:
            circuit.append(operation, qubits)
    gate = UnitaryGate(Operator(circuit).data, label=block.name, check_input=False)
    return BasicOperation("gate", block.name, gate)


def _leaves(
    block: Definition, qubits: tuple[int, ...]
) -> Iterator[tuple[BasicOperation, tuple[int, ...]]]:
    """Yield the basic operations of a definition and the qubits that they act on."""
    for step, local, _ in block.steps:
        operands = tuple(qubits[i] for i in local)
        if isinstance(step, Definition):
            yield from _leaves(step, operands)
        else:
            yield step, operands


def _is_plain_gate(operation: Any) -> bool:
    """Return whether a gate is defined by its name: no class of its own and no modifier."""
    return isinstance(operation, Gate) and type(operation).__name__ in ("Gate", "_DefinedGate")


def definition_of(operation: Any, num_qubits: int) -> QuantumCircuit | None:
    """Return the definition of an operation, what a box holds, or a synthesis; None without any.

    Raises:
        RefusedError: The definition fails, or has another number of qubits.
    """
    try:
        blocks = getattr(operation, "blocks", None) if operation.name == "box" else None
        definition = blocks[0] if blocks else getattr(operation, "definition", None)
    except MemoryError:
        raise
    except Exception as error:  # a definition is code of the gate's author
        reason = one_line(getattr(error, "message", error), 80)
        raise RefusedError(f"its definition failed: {reason}") from None
    if definition is None:
        return _synthesise(operation, num_qubits)
    if definition.num_qubits != num_qubits:
        raise RefusedError(f"its definition has {definition.num_qubits} qubits, not {num_qubits}")
    return definition


def _synthesise(operation: Any, num_qubits: int) -> QuantumCircuit | None:
    circuit = QuantumCircuit(num_qubits, getattr(operation, "num_clbits", 0))
    circuit.append(operation, range(num_qubits), range(circuit.num_clbits))
    try:
        synthesis: QuantumCircuit = HighLevelSynthesis(qubits_initially_zero=False)(circuit)
    except MemoryError:
        raise
    except Exception:  # from plugins, or from code of the gate's author
        return None
    unchanged = [step.name for step in synthesis.data] == [operation.name]
    return None if unchanged else synthesis


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
