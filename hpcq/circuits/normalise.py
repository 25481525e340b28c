"""Rewrite a circuit that is unitary up to final measurements in one- and two-qubit gates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, ParameterExpression

from hpcq.circuits.decompose import (
    MAX_NESTING,
    STANDARD,
    BasicOperation,
    Definition,
    Expander,
    RefusedError,
    check_distinct,
    definition_of,
    finite_float,
    is_ignored,
    leaf_parameters,
)
from hpcq.circuits.measurements import note_measurements
from hpcq.core.errors import InputError
from hpcq.core.text import some_names

MAX_QUBITS, MAX_OPERATIONS = 100_000, 5_000_000
"""Maximum numbers of qubits and of gates of a circuit that is read. They bound memory and time, and
are far above what can be planned."""

_UNUSED = "unused_parameters"
"""Key of the names of free parameters that no gate depends on, in the metadata of a normalised
circuit; Qiskit keeps such parameters in the global phase only."""


def normalise(
    circuit: QuantumCircuit,
    name: str = "circuit",
    *,
    max_qubits: int = MAX_QUBITS,
    max_operations: int = MAX_OPERATIONS,
    unique_names: bool = False,
    free_parameters: bool = False,
) -> QuantumCircuit:
    """Return the same unitary, global phase included, in gates on one or two qubits.

    Qubit i of the result is `circuit.qubits[i]`. The gates are Qiskit's standard gates, with
    finite floats or, if they are allowed, free parameters, or `UnitaryGate`. Barriers, delays,
    identities and simulator marks are dropped, and so are resets of qubits before their first gate.
    Final measurements are not gates either; what they measure is noted in the metadata of the
    result, see `hpcq.circuits.measurements.measurements_of`. Wider and custom gates are replaced by
    their definitions, and a custom gate on two qubits that is made of several becomes one matrix,
    so that it can be one cut. A gate is what its definition does: a `PauliEvolutionGate` becomes
    the product formula of its synthesis.

    Args:
        circuit: Any circuit without classical control.
        name: Name of the circuit in error messages, such as the path of its file.
        max_qubits: Largest number of qubits that is accepted.
        max_operations: Largest number of gates after expansion that is accepted.
        unique_names: Whether gates with the same name and parameters are equal, as in an OpenQASM
            program; then definitions that grow exponentially are counted quickly.
        free_parameters: Whether parameters may be without a value. Gates with such parameters that
            are not standard gates on one or two qubits are replaced by their definitions.

    Raises:
        InputError: The circuit cannot be cut; the message names the instruction.

    >>> bell = QuantumCircuit(2, 2)
    >>> _ = bell.h(0), bell.cx(0, 1), bell.measure([0, 1], [0, 1])
    >>> [step.name for step in normalise(bell).data]
    ['h', 'cx']
    """
    if not isinstance(circuit, QuantumCircuit):
        kind = type(circuit).__name__
        raise InputError(f"{name}: got an object of type {kind}, expected a QuantumCircuit")
    _check_circuit(circuit, name, max_qubits)
    if not free_parameters:
        check_bound(circuit, name)
    writer = _Writer(circuit, name, max_operations)
    expander = Expander(unique_names)
    index = {qubit: number for number, qubit in enumerate(circuit.qubits)}
    bit_index = {bit: number for number, bit in enumerate(circuit.clbits)}
    for outer in circuit.data:
        operands = [index[qubit] for qubit in outer.qubits]
        outer_bits = [bit_index[bit] for bit in outer.clbits]
        try:
            for instruction, qubits, bits in _steps(outer, operands, outer_bits):
                if is_ignored(instruction):
                    continue
                check_distinct(qubits)
                if instruction.is_standard_gate() and 0 < len(qubits) <= 2:
                    parameters = instruction.params
                    if not _has_free(instruction):
                        parameters = leaf_parameters(instruction.name, parameters)
                    writer.gate(instruction.name, parameters, qubits)
                elif instruction.is_standard_gate() and not qubits:
                    if not _has_free(instruction):
                        writer.phase += leaf_parameters(instruction.name, instruction.params)[0]
                else:
                    writer.write(expander.expand(instruction), qubits, bits)
        except RefusedError as refusal:
            raise InputError(
                f"{name}: {outer.name[:60]!r}{_on(operands)} cannot be used: {refusal}"
            ) from None
    normalised = writer.finish()
    used = set(normalised.parameters)
    note_unused_parameters(normalised, [p.name for p in circuit.parameters if p not in used])
    note_measurements(normalised, circuit, writer.qubit_of_bit)
    return normalised


def note_unused_parameters(circuit: QuantumCircuit, names: Sequence[str]) -> None:
    """Note the names of free parameters that a normalised circuit does not depend on."""
    if names:
        circuit.metadata = {**(circuit.metadata or {}), _UNUSED: list(names)}


def unused_parameters(circuit: QuantumCircuit) -> tuple[str, ...]:
    """Return the names of free parameters that a normalised circuit does not depend on."""
    return tuple((circuit.metadata or {}).get(_UNUSED, ()))


def _check_circuit(circuit: QuantumCircuit, name: str, max_qubits: int) -> None:
    if not 1 <= circuit.num_qubits <= max_qubits:
        raise InputError(
            f"{name}: the circuit has {circuit.num_qubits} qubits, expected 1 to {max_qubits}"
        )
    if circuit.num_vars:
        names = some_names(sorted(variable.name for variable in circuit.iter_vars()))
        raise InputError(f"{name}: classical variables are not supported: {names}")


def check_bound(circuit: QuantumCircuit, name: str = "circuit") -> None:
    """Check that a circuit has no free parameters.

    Raises:
        InputError: If it has; the message names them.
    """
    if circuit.parameters:
        names = some_names(sorted(parameter.name for parameter in circuit.parameters))
        raise InputError(f"{name}: every parameter needs a value first, these have none: {names}")


def _steps(
    instruction: CircuitInstruction, qubits: list[int], bits: list[int], depth: int = 0
) -> Iterator[tuple[CircuitInstruction, list[int], list[int]]]:
    """Yield an instruction, or what defines it if it is a wide or custom one with parameters.

    Raises:
        RefusedError: If the definition fails, or definitions are nested too deeply.
    """
    definition = None
    if not instruction.is_standard_gate() or len(qubits) > 2:
        definition = _free_definition(instruction)
    if definition is None:
        yield instruction, qubits, bits
        return
    if depth >= MAX_NESTING:
        raise RefusedError(f"gates are nested more than {MAX_NESTING} levels deep")
    operand = dict(zip(definition.qubits, qubits, strict=True))
    bit_of = dict(zip(definition.clbits, bits, strict=True))
    for step in definition.data:
        step_qubits = [operand[qubit] for qubit in step.qubits]
        yield from _steps(step, step_qubits, [bit_of[bit] for bit in step.clbits], depth + 1)


def _free_definition(instruction: CircuitInstruction) -> QuantumCircuit | None:
    """Return the definition of an instruction with free parameters; None if it has none."""
    operation = instruction.operation
    blocks = operation.blocks if instruction.name == "box" else ()
    is_free = _has_free(instruction) or any(block.parameters for block in blocks)
    return definition_of(operation, len(instruction.qubits)) if is_free else None


def _has_free(instruction: CircuitInstruction) -> bool:
    return any(isinstance(v, ParameterExpression) and v.parameters for v in instruction.params)


class _Writer:
    """The circuit under construction, with which of its qubits are in use or measured.

    Attributes:
        phase: The global phase.
        qubit_of_bit: The qubit whose outcome each classical bit that is written to ends with.
    """

    def __init__(self, source: QuantumCircuit, name: str, max_operations: int) -> None:
        self._name = name
        self._out = QuantumCircuit(source.num_qubits, name="circuit")
        self._qubits = self._out.qubits
        self._remaining = self._limit = max_operations
        self._touched = bytearray(source.num_qubits)
        self._measured: set[int] = set()
        self.qubit_of_bit: dict[int, int] = {}
        try:
            if isinstance(source.global_phase, float) and math.isnan(source.global_phase):
                # Qiskit reduces it modulo full turns, which turns infinity into NaN.
                raise RefusedError("the global phase is nan or infinite, expected a finite number")
            phase = source.global_phase
            is_free = isinstance(phase, ParameterExpression) and phase.parameters
            # Observables do not see it, so a free one can be dropped.
            self.phase = 0.0 if is_free else finite_float(phase, "the global phase")
        except RefusedError as refusal:
            raise InputError(f"{name}: {refusal}") from None

    def write(self, node: BasicOperation | Definition, qubits: list[int], bits: list[int]) -> None:
        """Append a basic operation, or all operations of a definition."""
        if isinstance(node, BasicOperation):
            self._leaf(node, qubits, bits)
            return
        if node.size > self._remaining:
            raise RefusedError(
                f"the circuit grows beyond {self._limit} operations when it is written out"
            )
        self.phase = math.remainder(self.phase + node.phase, math.tau)
        self._steps(node, qubits, bits)

    def gate(self, name: str, parameters: Sequence[Any], qubits: list[int]) -> None:
        """Append a standard gate."""
        self._touch(name, qubits)
        operands = tuple(self._qubits[q] for q in qubits)
        self._out._append(CircuitInstruction.from_standard(STANDARD[name], operands, parameters))

    def finish(self) -> QuantumCircuit:
        """Return the circuit."""
        self._out.global_phase = self.phase
        return self._out

    def _steps(self, block: Definition, qubits: list[int], bits: list[int]) -> None:
        for step, local, local_bits in block.steps:
            targets, target_bits = [qubits[i] for i in local], [bits[i] for i in local_bits]
            if isinstance(step, Definition):
                self._steps(step, targets, target_bits)
            else:
                self._leaf(step, targets, target_bits)

    def _leaf(self, leaf: BasicOperation, qubits: list[int], bits: list[int]) -> None:
        if leaf.kind == "measure":
            self._measured.update(qubits)
            # A bit that is written twice keeps the later outcome.
            self.qubit_of_bit.update(zip(bits, qubits, strict=True))
        elif leaf.kind == "reset":
            if any(self._touched[q] or q in self._measured for q in qubits):
                raise RefusedError("a reset of a qubit that is already in use is not unitary")
        elif isinstance(leaf.operation, tuple):
            self.gate(leaf.name, leaf.operation[1], qubits)
        else:
            self._touch(leaf.name, qubits)
            operands = tuple(self._qubits[q] for q in qubits)
            self._out._append(CircuitInstruction(leaf.operation, operands))

    def _touch(self, name: str, qubits: list[int]) -> None:
        self._remaining -= 1
        if self._remaining < 0:
            raise RefusedError(f"the circuit has more than {self._limit} operations")
        for qubit in qubits:
            self._touched[qubit] = 1
            if qubit in self._measured:
                raise InputError(
                    f"{self._name}: 'measure' on qubit {qubit} is followed by {name[:60]!r} there, "
                    "but only final measurements are supported"
                )


def _on(qubits: list[int]) -> str:
    if not qubits:
        return ""
    shown = ", ".join(map(str, qubits[:6])) + (", ..." if len(qubits) > 6 else "")
    return f" on qubit{'s' if len(qubits) > 1 else ''} {shown}"
