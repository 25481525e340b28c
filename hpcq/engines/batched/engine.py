"""The batched engine: which pieces it takes, and what they cost."""

from __future__ import annotations

import math
from contextlib import suppress
from importlib import import_module
from typing import Any

from hpcq.core.limits import Device, Limits
from hpcq.core.system import format_bytes
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.batched.kept_states import KeptStates
from hpcq.engines.batched.piece import BatchedPiece
from hpcq.engines.batched.schedule import GROUP
from hpcq.engines.protocol import Cost, Engine, Piece, PreparedPiece, Refusal
from hpcq.engines.requests import Derivatives, OperatorTensors, Request

MAX_WIRES = 16
"""Maximum number of wires of a piece. The compiled steps hold an index for each amplitude."""

ROW_SECONDS = 1e-4
"""Seconds that a row takes whatever the circuit, if it is alone: most of it in calls of NumPy.
Measured: 0.10 ms at 8 qubits and 4 layers, 0.03 ms in batches of 256."""

AMPLITUDE_SECONDS = 5e-9
"""Seconds of one step on one amplitude, measured: 3.8 ns for matrices on four qubits, 1 to 16 ns
for permutations and phases."""

PRODUCT_SECONDS = 2.6e-10
"""Seconds of one complex multiplication of a matrix product, measured with 64 by 256 matrices."""

_INDEX_BYTES = 16
"""Bytes of the constants of a step for each amplitude: two indices."""

_KEPT_SHARE = 4
"""States that are kept for derivatives take at most this fraction of a rank's memory."""


class BatchedEngine(Engine):
    """Simulates narrow subcircuits for many rows of angles at once.

    Args:
        limits: Memory and precision.
        device: ``gpu`` for CuPy, if it is installed; all else takes place on the CPU.
    """

    def __init__(self, limits: Limits, device: Device = "cpu") -> None:
        self._limits = limits
        self._xp = _array_module(device)
        self.name = f"batched {self._xp.__name__}"
        self._states = KeptStates(limits.memory_bytes // _KEPT_SHARE)

    def supports(self, piece: Piece, request: Request) -> Cost | Refusal:
        """Return the predicted cost of a request for one row, or why it is refused.

        The cost of derivatives includes a simulation; it is not needed if tensors of the same
        operators and rows have been asked for just before.
        """
        if not isinstance(piece, ExactTensor) or not isinstance(
            request, OperatorTensors | Derivatives
        ):
            return Refusal(
                "it computes tensors of operators of exact runs and their derivatives, not "
                f"{type(request).__name__} of {type(piece).__name__}"
            )
        wires = piece.subcircuit.num_qubits
        if wires > MAX_WIRES:
            return Refusal(f"its {wires} wires are more than {MAX_WIRES}")
        steps = _steps(piece)
        amplitudes = piece.num_branches * 2.0**piece.simulated_qubits
        size = int(amplitudes * (self._limits.amplitude_bytes + _INDEX_BYTES) * (steps + 3))
        if size > self._limits.memory_bytes:
            return Refusal(
                f"its {piece.simulated_qubits} qubits in {steps} steps need {format_bytes(size)}, "
                f"a rank has {format_bytes(self._limits.memory_bytes)}"
            )
        dimension = piece.num_branches * piece.block_shape[1]
        step = AMPLITUDE_SECONDS * amplitudes
        products = len(request.operators) * (2 * step + PRODUCT_SECONDS * dimension * amplitudes)
        sweeps = 1
        if isinstance(request, Derivatives):
            sums = request.environments.shape[1]
            products *= sums
            sweeps += 2 * sums
        return Cost(sweeps * (ROW_SECONDS + steps * step) + products, size)

    def prepare(self, piece: Piece) -> PreparedPiece:
        """Compile a piece."""
        assert isinstance(piece, ExactTensor), "the engine refuses all others"
        return BatchedPiece(piece, self._limits, self._xp, self._states)


def _steps(piece: ExactTensor) -> int:
    """Return about how many steps a compiled branch has, with all qubits in each of them."""
    wires = piece.subcircuit.num_qubits
    layers = 1 + 2 * piece.subcircuit.load.passes / max(1, wires)
    # On average, half of the ports take part.
    return math.ceil(layers * (math.ceil(wires / GROUP) + 1) / (2 if piece.open_ports else 1))


def _array_module(device: Device) -> Any:
    """Return CuPy for a GPU, if it is installed, and NumPy otherwise."""
    with suppress(ImportError):
        return import_module("cupy" if device == "gpu" else "numpy")
    return import_module("numpy")
