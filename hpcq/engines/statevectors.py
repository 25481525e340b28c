"""Answers from whole statevectors: all that an engine needs besides a simulator of circuits."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.slots import bind_slots, slot_of
from hpcq.core.limits import COMPLEX_BYTES, Limits
from hpcq.core.system import format_bytes
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.cutting.subexperiments.projectors import States
from hpcq.engines.adjoint_states import Evolve, adjoint_derivatives, segments_of
from hpcq.engines.prepared import MAX_PREPARED_BYTES
from hpcq.engines.protocol import Cost, Piece, PreparedPiece, Refusal
from hpcq.engines.requests import (
    Amplitudes,
    Derivatives,
    Operator,
    OperatorTensors,
    PrefixGrams,
    Request,
    Samples,
    Tensors,
)
from hpcq.engines.sampled_outcomes import SampledOutcomes, answer_bytes, generators
from hpcq.engines.statevector_samples import sample_statevector, samples_seconds

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Simulation = Callable[[], NDArray[np.complexfloating]]
"""Runs a circuit from |0...0> and returns its 2**n amplitudes, qubit 0 the lowest bit."""

AMPLITUDE_SECONDS = 2e-9
"""Seconds of one gate on one amplitude, on one thread of a usual machine. Together with the next
constant it serves to choose an engine; plans use the machine's speeds (hpcq.planning.cost)."""

SIMULATION_SECONDS = 2e-4
"""Seconds that a simulation takes whatever the circuit."""

GATE_SECONDS = 1.5e-5
"""Seconds of binding one gate of a piece with slots and passing it to Aer, at each row. Measured:
2.9 and 4.3 ms for 149 and 212 gates on 8 qubits, with simulations of 0.25 and 0.31 ms."""

_GENERAL_GATES = 2.5
"""Number of standard gates that take as long as one given by a matrix. Measured at 16 qubits: 5.3
ns an amplitude, where standard gates took 1.1 to 3.2 ns."""

_PRODUCT_SECONDS = 2.5e-10
"""Seconds of one complex multiplication and addition of a product of states, measured with 64 rows
of 2**10 amplitudes."""

_STRING_SECONDS = 2.5e-9
"""Seconds to apply a string of an operator to one amplitude; measured 1.5 to 3.4 ns."""

_HAND_OVER_SECONDS = 1e-7
"""Seconds per amplitude of passing a state to the simulator and back, and of computing derivatives
from a pair of states; both measured at 20 qubits."""

STATES_TO_UNDO = 5
"""Number of states that the adjoint method holds at a time for one sum: the two that are undone,
and three copies of one of them while the simulator has it."""

_GATE_BYTES = 750
"""Bytes of a gate in Aer's form, the largest that is used."""


class StatevectorPiece(PreparedPiece):
    """A subcircuit whose branches are simulated as whole statevectors.

    Derivatives are those of :mod:`hpcq.engines.adjoint_states` if the simulator can begin with any
    state. Otherwise they take a simulation for each gate of a slot and each branch, whatever the
    number of sums: the derivative of a state with respect to the angle of a Pauli rotation is half
    the state with this angle larger by pi.

    Args:
        tensor: The subcircuit and its sliced ports.
        compile_circuit: Returns a function that simulates a circuit, again and again.
        threads: Number of threads of the products of states.
        memory_bytes: Bytes that states may take; None for no limit.
        evolve: Applies a circuit to a state; None if the simulator cannot.
    """

    def __init__(
        self,
        tensor: ExactTensor,
        compile_circuit: Callable[[QuantumCircuit], Simulation],
        threads: int = 1,
        memory_bytes: int | None = None,
        evolve: Evolve | None = None,
    ) -> None:
        self._tensor = tensor
        self._compile = compile_circuit
        self._threads = threads
        self._memory_bytes = memory_bytes
        self._evolve = evolve
        self._circuits: dict[int, QuantumCircuit] = {}
        self._simulations: dict[int, Simulation] = {}

    def execute(self, rows: NDArray[np.float64], request: Request) -> Any:
        """Answer a request for tensors, derivatives, amplitudes, prefix Grams or samples."""
        assert rows.shape[1] == len(self._tensor.slots), "a column for each slot"
        if isinstance(request, Samples):
            return self._samples(rows, request)
        answers = [self._answer(number, angles, request) for number, angles in enumerate(rows)]
        return answers[0][np.newaxis] if len(answers) == 1 else np.stack(answers)

    def _answer(self, number: int, angles: NDArray[np.float64], request: Request) -> NDArray[Any]:
        """Answer a request for one row, the one with this number."""
        tensor = self._tensor
        if isinstance(request, OperatorTensors):
            return tensor.join(self._operator_blocks(angles, request.operators))
        if isinstance(request, Derivatives):
            environments = request.environments[number]
            return self._derivatives(angles, request.operators, environments)
        if isinstance(request, Amplitudes):
            states = self._states(angles, request.branch)
            return states * states.dtype.type(tensor.port_factor**0.5)
        assert isinstance(request, Tensors | PrefixGrams), "the engine refuses all others"
        first, other = tensor.branches(request.block)
        if isinstance(request, PrefixGrams):
            ket = self._states(angles, first)
            bra = ket if first == other else self._states(angles, other)
            return tensor.prefix_grams(ket, bra, request.bits)
        kept, key = request.workspace, (angles.tobytes(), first)
        if key not in kept:
            kept.clear()
            kept[key] = self._states(angles, first)
        ket = kept[key]
        if first == other:  # the last block of this ket
            kept.clear()
        bra = ket if first == other else self._states(angles, other)
        return tensor.products(ket, bra, request.strings, self._threads)

    def _samples(self, rows: NDArray[np.float64], request: Samples) -> list[SampledOutcomes]:
        """Draw outcomes for each row of angles."""
        random = generators(request, len(rows))
        return [
            sample_statevector(self._states(angles, 0)[0], request.shots, rng)
            for angles, rng in zip(rows, random, strict=True)
        ]

    @property
    def memory_bytes(self) -> int:
        """Bytes of the branches' circuits that are kept."""
        gates: int = self._tensor.subcircuit.circuit.size()
        return _GATE_BYTES * (1 + gates) * (len(self._simulations) + len(self._circuits))

    def _operator_blocks(
        self, angles: NDArray[np.float64], operators: Sequence[Operator]
    ) -> list[NDArray[np.complex128]]:
        """Return the operators' blocks of all pairs of branches, in order."""
        tensor, blocks = self._tensor, []
        for first in range(tensor.num_branches):
            ket = self._states(angles, first)
            for other in range(first + 1):
                bra = ket if first == other else self._states(angles, other)
                blocks.append(tensor.operator_products(ket, bra, operators, self._threads))
        return blocks

    def _derivatives(
        self,
        angles: NDArray[np.float64],
        operators: Sequence[Operator],
        environments: NDArray[np.complex128],
    ) -> NDArray[np.float64]:
        """Return the derivatives of sums, shape (sums, slots).

        A sum is ``sum_j <psi_j|lambda_j>`` over the branches, with the states lambda_j from the
        environments. So its derivative is ``2 Re <d psi_j|lambda_j>``, summed over the branches.
        """
        tensor, size = self._tensor, environments.shape[-1]
        # Tensors are Hermitian: only the Hermitian part of an environment has a real sum.
        hermitian = (environments + environments.conj().swapaxes(-1, -2)) / 2
        weights = tensor.split(hermitian.reshape(-1, size, size))
        weights = weights.reshape(*environments.shape[:2], *weights.shape[1:])
        derivatives = np.zeros((len(environments), len(tensor.slots)))
        group_size = self._sums_in_memory()
        for start in range(0, len(environments), group_size):
            group = slice(start, start + group_size)
            for branch in range(tensor.num_branches):
                adjoint = self._adjoint(angles, operators, weights[group, :, :, :, branch])
                if self._evolve is None or not self._has_memory_to_undo:
                    for column, sign, states in self._shifted_states(angles, branch):
                        derivatives[group, column] += sign * (adjoint @ states.conj()).real
                    continue
                template = self._circuit(branch)
                by_slot = adjoint_derivatives(
                    bind_slots(template, tensor.slots, angles),
                    segments_of(template),
                    self._states(angles, branch).reshape(-1),
                    list(adjoint),
                    self._evolve,
                )
                for slot, found in by_slot.items():
                    derivatives[group, tensor.slots.index(slot)] += found
        return derivatives

    def _sums_in_memory(self) -> int:
        """Return the number of sums whose states fit into the memory, at least 1."""
        if self._memory_bytes is None:
            return sys.maxsize
        states = self._memory_bytes // (COMPLEX_BYTES << self._tensor.simulated_qubits)
        return max(1, min((states - 1) // 2, states - STATES_TO_UNDO + 1))

    @property
    def _has_memory_to_undo(self) -> bool:
        """Whether the states of the adjoint method fit into the memory."""
        state_bytes = COMPLEX_BYTES << self._tensor.simulated_qubits
        return self._memory_bytes is None or STATES_TO_UNDO * state_bytes <= self._memory_bytes

    def _adjoint(
        self,
        angles: NDArray[np.float64],
        operators: Sequence[Operator],
        weights: NDArray[np.complex128],
    ) -> States:
        """Return lambda of one branch for each sum, flat, from the weights of all kets with it."""
        total: States | int = 0
        for ket in range(self._tensor.num_branches):
            states = self._states(angles, ket)
            total += self._tensor.weighted_states(states, operators, weights[:, :, ket])
        return np.asarray(total).reshape(len(weights), -1)

    def _shifted_states(
        self, angles: NDArray[np.float64], branch: int
    ) -> Iterator[tuple[int, int, States]]:
        """Yield a branch's states with the angle of one gate larger by pi, for each gate of a slot.

        Each comes with the column of its slot and the sign with which the gate takes the angle.
        """
        slots = self._tensor.slots
        template = self._circuit(branch)
        circuit = bind_slots(template, slots, angles)
        for index, labelled in enumerate(template.data):
            slot = slot_of(labelled)
            if slot is None:
                continue
            unshifted = circuit.data[index]
            gate = unshifted.operation
            shifted = type(gate)(gate.params[0] + math.pi)
            circuit.data[index] = unshifted.replace(operation=shifted)
            yield slots.index(slot[0]), slot[1], self._compile(circuit)()
            circuit.data[index] = unshifted

    def _states(self, angles: NDArray[np.float64], branch: int) -> States:
        """Simulate one branch; return psi[p, rest], p the combined index of the open ports."""
        if len(angles):
            circuit = bind_slots(self._circuit(branch), self._tensor.slots, angles)
            states = self._compile(circuit)()
        else:
            if branch not in self._simulations:
                if self.memory_bytes > MAX_PREPARED_BYTES:
                    self._simulations.clear()
                self._simulations[branch] = self._compile(self._tensor.circuit(branch))
            states = self._simulations[branch]()
        return states.reshape(self._tensor.block_shape[1], -1)

    def _circuit(self, branch: int) -> QuantumCircuit:
        """Return the circuit of a branch, with labels at its slots."""
        if branch not in self._circuits:
            if self.memory_bytes > MAX_PREPARED_BYTES:
                self._circuits.clear()
            self._circuits[branch] = self._tensor.circuit(branch)
        return self._circuits[branch]


def statevector_cost(
    piece: Piece, request: Request, limits: Limits, *, evolves: bool = False
) -> Cost | Refusal:
    """Return the cost of a request to a :class:`StatevectorPiece`, or why it cannot answer.

    ``evolves`` says whether the simulator can begin with any state.
    """
    if not isinstance(piece, ExactTensor) or not isinstance(
        request, Tensors | OperatorTensors | Derivatives | Amplitudes | PrefixGrams | Samples
    ):
        return Refusal(
            "it computes tensors, derivatives, amplitudes, prefix Grams and samples of exact runs, "
            f"not {type(request).__name__} of {type(piece).__name__}"
        )
    qubits, gates = piece.simulated_qubits, piece.subcircuit.circuit.size()
    outcomes = qubits - (piece.block_shape[1].bit_length() - 1)
    if isinstance(request, PrefixGrams) and not 0 <= request.bits <= outcomes:
        return Refusal(f"a prefix of {request.bits} bits, expected 0 to {outcomes}")
    if isinstance(request, Samples) and piece.subcircuit.ports:
        return Refusal(f"the piece has {len(piece.subcircuit.ports)} ports, expected none")
    branches = piece.num_branches
    states = 1 if isinstance(request, Amplitudes) or branches == 1 else 2
    if isinstance(request, Derivatives):
        states += 1
    size, asked = states * limits.amplitude_bytes << qubits, ""
    if isinstance(request, Samples):
        size, asked = size + answer_bytes(qubits, request.shots), f" and {request.shots} shots"
    if size > limits.memory_bytes:
        return Refusal(
            f"its {qubits} qubits{asked} need {format_bytes(size)}, a rank has "
            f"{format_bytes(limits.memory_bytes)}"
        )
    steps = gates + (_GENERAL_GATES - 1) * piece.subcircuit.circuit.count_ops().get("unitary", 0)
    one = SIMULATION_SECONDS + AMPLITUDE_SECONDS * steps * 2.0**qubits / limits.threads
    if piece.slots:
        one += GATE_SECONDS * gates
    if isinstance(request, Samples):
        return Cost(one + samples_seconds(qubits, request.shots), size)
    if not isinstance(request, OperatorTensors | Derivatives):
        return Cost(states * one, size)
    dimension, strings = piece.block_shape[1], sum(map(len, request.operators))
    row_products = _PRODUCT_SECONDS * dimension * len(request.operators)
    products = 2.0**qubits * (row_products + _STRING_SECONDS * strings)
    if isinstance(request, OperatorTensors):
        return Cost(piece.num_tasks * (one + products), size)
    amplitudes, sums = 2.0**qubits, request.environments.shape[1]
    undone_bytes = STATES_TO_UNDO * COMPLEX_BYTES << qubits
    if evolves and undone_bytes <= limits.memory_bytes:
        size = undone_bytes
        segments = len(segments_of(piece.circuit()))
        handed_over = segments * _HAND_OVER_SECONDS * amplitudes
        backwards = (1 + sums) * (one + handed_over) + sums * handed_over
    else:
        shifts = sum(slot_of(gate) is not None for gate in piece.subcircuit.circuit.data)
        backwards = shifts * (one + sums * _PRODUCT_SECONDS * amplitudes)
    return Cost(branches * (branches * (one + sums * products) + backwards), size)
