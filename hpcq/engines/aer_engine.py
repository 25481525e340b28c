"""The engine of Qiskit Aer, on CPU or GPU: exact runs, and shots with or without noise."""

from __future__ import annotations

from hpcq.core.limits import Device, Limits
from hpcq.core.system import format_bytes
from hpcq.cutting.subexperiments.device_circuits import Template
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.aer import Aer
from hpcq.engines.aer_sampler import CALL_SECONDS, SHOT_SECONDS, SampledTemplate
from hpcq.engines.noise import Noise
from hpcq.engines.protocol import Cost, Engine, Piece, PreparedPiece, Refusal
from hpcq.engines.requests import Request, ShotCounts
from hpcq.engines.statevectors import AMPLITUDE_SECONDS, StatevectorPiece, statevector_cost


class AerEngine(Engine):
    """Aer, with threads and memory set and never left to Aer's defaults.

    Args:
        limits: Threads, memory and precision of one simulation.
        device: ``cpu`` or ``gpu``.
        noise: Noise of shots; None for an ideal device.
    """

    def __init__(self, limits: Limits, device: Device = "cpu", noise: Noise | None = None) -> None:
        self.name = f"aer {device}" + (f", noise {noise.name}" if noise else "")
        self.defers_measurements = noise is None  # noise acts on the real ones
        self.simulator_device = device
        self._limits = limits
        self._noise = noise
        self._aer = Aer(limits, device)
        # Not measured on GPUs, where states would cross the bus for each segment.
        self._evolves = device == "cpu"

    def supports(self, piece: Piece, request: Request) -> Cost | Refusal:
        """Return the predicted cost of a request, or why it is refused."""
        if not isinstance(piece, Template):
            return statevector_cost(piece, request, self._limits, evolves=self._evolves)
        if not isinstance(request, ShotCounts):
            return Refusal(f"it counts outcomes of templates, not {type(request).__name__} of them")
        qubits = piece.circuit.num_qubits
        size = self._limits.amplitude_bytes << qubits
        if size > self._limits.memory_bytes:
            return Refusal(
                f"its {qubits} qubits need {format_bytes(size)}, a rank has "
                f"{format_bytes(self._limits.memory_bytes)}"
            )
        state = CALL_SECONDS + piece.circuit.size() * AMPLITUDE_SECONDS * 2.0**qubits
        states = 1.0 if self._noise is None else float(request.shots.mean())
        return Cost(states * state + SHOT_SECONDS * float(request.shots.mean()), size)

    def prepare(self, piece: Piece) -> PreparedPiece:
        """Build the circuits of a piece and translate them for Aer."""
        if isinstance(piece, ExactTensor):
            limits = self._limits
            compile_circuit = self._aer.compile_circuit
            evolve = self._aer.evolve if self._evolves else None
            return StatevectorPiece(
                piece, compile_circuit, limits.threads, limits.memory_bytes, evolve
            )
        return SampledTemplate.of(piece, self._aer, self._noise)
