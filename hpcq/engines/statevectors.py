"""Answers from whole statevectors: all that an engine needs besides a simulator of circuits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Limits
from hpcq.core.system import format_bytes
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.cutting.subexperiments.projectors import States
from hpcq.engines.prepared import MAX_PREPARED_BYTES
from hpcq.engines.protocol import Cost, Piece, PreparedPiece, Refusal
from hpcq.engines.requests import Amplitudes, PrefixGrams, Request, Tensors

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Simulation = Callable[[], NDArray[np.complexfloating]]
"""Runs a circuit from |0...0> and returns its 2**n amplitudes, qubit 0 the lowest bit."""

AMPLITUDE_SECONDS = 2e-9
"""Seconds of one gate on one amplitude, on one thread of a usual machine. Together with the next
constant it serves to choose an engine; plans use the machine's speeds (hpcq.planning.cost)."""

SIMULATION_SECONDS = 2e-4
"""Seconds that a simulation takes whatever the circuit."""

_GATE_BYTES = 750
"""Bytes of a gate in Aer's form, the largest that is used."""


class StatevectorPiece(PreparedPiece):
    """A subcircuit whose branches are simulated as whole statevectors.

    Args:
        tensor: The subcircuit and its sliced ports.
        compile_circuit: Returns a function that simulates a circuit, again and again.
        threads: Number of threads of the products of states.
    """

    def __init__(
        self,
        tensor: ExactTensor,
        compile_circuit: Callable[[QuantumCircuit], Simulation],
        threads: int = 1,
    ) -> None:
        self._tensor = tensor
        self._compile = compile_circuit
        self._threads = threads
        self._simulations: dict[int, Simulation] = {}

    def execute(self, rows: NDArray[np.float64], request: Request) -> Any:
        """Answer a request for tensors, amplitudes or prefix Grams."""
        assert rows.shape == (1, 0), "exact pieces have no parameters"
        tensor = self._tensor
        if isinstance(request, Amplitudes):
            states = self._states(request.branch)
            return (states * states.dtype.type(tensor.port_factor**0.5))[np.newaxis]
        assert isinstance(request, Tensors | PrefixGrams), "the engine refuses all others"
        number, other = tensor.branches(request.block)
        if isinstance(request, PrefixGrams):
            ket = self._states(number)
            bra = ket if number == other else self._states(other)
            return tensor.prefix_grams(ket, bra, request.bits)[np.newaxis]
        kept = request.workspace
        if number not in kept:
            kept.clear()
            kept[number] = self._states(number)
        ket = kept[number]
        if number == other:  # the last block of this ket
            kept.clear()
        bra = ket if number == other else self._states(other)
        return tensor.products(ket, bra, request.strings, self._threads)[np.newaxis]

    @property
    def memory_bytes(self) -> int:
        """Bytes of the branches' circuits that are kept."""
        gates: int = self._tensor.subcircuit.circuit.size()
        return _GATE_BYTES * (1 + gates) * len(self._simulations)

    def _states(self, branch: int) -> States:
        """Simulate one branch; return psi[p, rest], p the combined index of the open ports."""
        if branch not in self._simulations:
            if self.memory_bytes > MAX_PREPARED_BYTES:
                self._simulations.clear()
            self._simulations[branch] = self._compile(self._tensor.circuit(branch))
        return self._simulations[branch]().reshape(self._tensor.block_shape[1], -1)


def statevector_cost(piece: Piece, request: Request, limits: Limits) -> Cost | Refusal:
    """Return the cost of a request to a :class:`StatevectorPiece`, or why it cannot answer."""
    if not isinstance(piece, ExactTensor) or not isinstance(
        request, Tensors | Amplitudes | PrefixGrams
    ):
        return Refusal(
            "it computes tensors, amplitudes and prefix Grams of exact runs, not "
            f"{type(request).__name__} of {type(piece).__name__}"
        )
    qubits, gates = piece.simulated_qubits, piece.subcircuit.circuit.size()
    outcomes = qubits - (piece.block_shape[1].bit_length() - 1)
    if isinstance(request, PrefixGrams) and not 0 <= request.bits <= outcomes:
        return Refusal(f"a prefix of {request.bits} bits, expected 0 to {outcomes}")
    states = 1 if isinstance(request, Amplitudes) or piece.num_branches == 1 else 2
    size = states * limits.amplitude_bytes << qubits
    if size > limits.memory_bytes:
        return Refusal(
            f"its {qubits} qubits need {format_bytes(size)}, a rank has "
            f"{format_bytes(limits.memory_bytes)}"
        )
    one = SIMULATION_SECONDS + AMPLITUDE_SECONDS * gates * 2.0**qubits / limits.threads
    return Cost(states * one, size)
