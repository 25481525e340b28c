"""Prepared pieces, which an engine keeps from task to task and from run to run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

MAX_PREPARED_BYTES = 64 << 20
"""Bytes of prepared pieces that an engine keeps: 80,000 gates in Aer's form. Larger: fewer pieces
are prepared again, at about 40 µs a gate, but ranks have less memory for everything else."""

_GATE_BYTES = 500
"""Bytes of a gate of a circuit of Qiskit, measured."""


class _Sized(Protocol):
    @property
    def memory_bytes(self) -> int: ...


P = TypeVar("P", bound=_Sized)


class PieceCache(Generic[P]):
    """Prepared pieces by fingerprint; if they take too much memory, the least recently used go.

    Pieces may grow while they are in use. The one used last stays, whatever its size.
    """

    def __init__(self) -> None:
        self._pieces: OrderedDict[str, tuple[P, int]] = OrderedDict()
        self._bytes = 0

    def get(self, fingerprint: str, prepare: Callable[[], P]) -> P:
        """Return the piece with a fingerprint, prepared now if it is not kept."""
        piece, known_bytes = self._pieces.pop(fingerprint, (None, 0))
        if piece is None:
            piece = prepare()
        self._pieces[fingerprint] = piece, piece.memory_bytes
        self._bytes += piece.memory_bytes - known_bytes
        while self._bytes > MAX_PREPARED_BYTES and len(self._pieces) > 1:
            _, (_, dropped_bytes) = self._pieces.popitem(last=False)
            self._bytes -= dropped_bytes
        return piece


def circuit_bytes(*circuits: QuantumCircuit) -> int:
    """Return the approximate bytes that circuits of Qiskit take."""
    return sum(_GATE_BYTES * (1 + circuit.size()) for circuit in circuits)
