"""The batched engine: which pieces it takes, and what they cost."""

from __future__ import annotations

import math
from contextlib import suppress
from importlib import import_module
from typing import Any

from hpcq.core.allocator import keep_freed_memory
from hpcq.core.limits import Device, Limits
from hpcq.core.system import format_bytes
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.batched.kept_states import KeptStates
from hpcq.engines.batched.operator_set import num_products
from hpcq.engines.batched.piece import BatchedPiece
from hpcq.engines.batched.schedule import GROUP
from hpcq.engines.protocol import Cost, Engine, Piece, PreparedPiece, Refusal
from hpcq.engines.requests import Derivatives, OperatorTensors, Request

MAX_WIRES = 16
"""Maximum number of wires of a piece. Compiled steps hold an index for each amplitude."""

ROW_SECONDS, STEP_SECONDS = 5e-5, 7e-6
"""Seconds of one row, computed alone, for the matrices of its gates and for each step, whatever the
number of amplitudes: mostly calls of NumPy. Measured at 5 and 8 qubits on one core; in large
batches a row takes a quarter."""

AMPLITUDE_SECONDS = 4e-9
"""Seconds of one step on one amplitude. Measured on one core: 3.8 ns for matrices on four qubits, 1
to 3 ns for permutations and phases."""

_OPERATOR_STEPS = 3
"""Number of steps that take as long as applying an operator: about one for each four wires."""

PRODUCT_SECONDS = 2.6e-10
"""Seconds of one complex multiplication in a matrix product, measured on one core with matrices of
64 by 256."""

_INDEX_BYTES = 16
"""Bytes of the constants of a step for each amplitude: two indices."""

_KEPT_SHARE = 4
"""Divisor of a rank's memory: states that are kept for derivatives take at most a quarter of it."""


class BatchedEngine(Engine):
    """Simulates narrow subcircuits for many rows of angles at once.

    Args:
        limits: Memory of a rank, and precision.
        device: ``gpu`` to compute with CuPy, if it is installed; otherwise NumPy computes.
    """

    def __init__(self, limits: Limits, device: Device = "cpu") -> None:
        keep_freed_memory()
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
                "it computes tensors of operators in exact runs, and their derivatives, not "
                f"{type(request).__name__} of {type(piece).__name__}"
            )
        wires = piece.subcircuit.num_qubits
        if wires > MAX_WIRES:
            return Refusal(f"its {wires} wires are more than {MAX_WIRES}")
        steps, share = _steps(piece), _mean_share(piece)
        amplitudes = piece.num_branches * 2.0**piece.simulated_qubits
        bytes_per_step = share * amplitudes * (self._limits.amplitude_bytes + _INDEX_BYTES)
        size = int(steps * bytes_per_step + 3 * amplitudes * self._limits.amplitude_bytes)
        if size > self._limits.memory_bytes:
            return Refusal(
                f"its {piece.simulated_qubits} qubits in {steps} steps need {format_bytes(size)}, "
                f"a rank has {format_bytes(self._limits.memory_bytes)}"
            )
        dimension = piece.num_branches * piece.block_shape[1]
        step = STEP_SECONDS + AMPLITUDE_SECONDS * share * amplitudes
        bits = {wire: wire for wire in range(wires)}
        products = num_products(request.operators, bits, dimension)
        one = PRODUCT_SECONDS * dimension + AMPLITUDE_SECONDS * _OPERATOR_STEPS
        seconds = ROW_SECONDS + steps * step + products * amplitudes * one
        if isinstance(request, Derivatives):
            sums = request.environments.shape[1]
            back = 2 * steps * step + products * amplitudes * PRODUCT_SECONDS * dimension
            seconds += ROW_SECONDS + sums * back
        return Cost(seconds, size)

    def prepare(self, piece: Piece) -> PreparedPiece:
        """Compile a piece."""
        assert isinstance(piece, ExactTensor), "the engine refuses all others"
        return BatchedPiece(piece, self._limits, self._xp, self._states)


def _steps(piece: ExactTensor) -> int:
    """Return about how many steps a compiled branch has."""
    wires = piece.subcircuit.num_qubits
    layers = 1 + 2 * piece.subcircuit.load.passes / max(1, wires)
    return math.ceil(layers * (math.ceil(wires / GROUP) + 1))


def _mean_share(piece: ExactTensor) -> float:
    """Return the mean share of amplitudes in a step, if ancillas join at regular intervals."""
    ports = piece.subcircuit.ports
    ancillas = sum(ports[number].ancillas for number in piece.open_ports)
    return (1 - 0.5**ancillas) / (ancillas * math.log(2)) if ancillas else 1.0


def _array_module(device: Device) -> Any:
    """Return CuPy for a GPU, if it is installed, and NumPy otherwise."""
    with suppress(ImportError):
        return import_module("cupy" if device == "gpu" else "numpy")
    return import_module("numpy")
