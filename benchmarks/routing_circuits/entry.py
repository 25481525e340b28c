"""One circuit of a set with its observables, and the observables that many entries share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Edges = Iterable[tuple[int, int]]


@dataclass(frozen=True)
class Entry:
    """A circuit and its observables.

    Attributes:
        name: What ``--only`` calls it.
        kind: What it stands for, such as ``near-Clifford``.
        build: Makes the circuit, the same one at every call.
        observables: What is asked, as :func:`hpcq.plan` takes it.
        values: The expectation values where a formula gives them; see ``truths.py`` for the others.
        block_width: Qubits of a block, where consecutive ones form blocks that few gates link.
    """

    name: str
    kind: str
    build: Callable[[], QuantumCircuit]
    observables: tuple[Any, ...]
    values: tuple[float, ...] | None = None
    block_width: int | None = None

    def __post_init__(self) -> None:
        if self.values is not None and len(self.values) != len(self.observables):
            raise ValueError(
                f"{self.name}: {len(self.values)} values, expected {len(self.observables)}, "
                "one for each observable"
            )


def string(letter: str, qubits: Iterable[int]) -> str:
    """Return the product of one letter on some qubits: ``"Z0 Z5"``."""
    return " ".join(f"{letter}{qubit}" for qubit in qubits)


def parity(num_qubits: int) -> str:
    """Return Z on all qubits, as one string."""
    return string("Z", range(num_qubits))


def each_z(num_qubits: int) -> tuple[str, ...]:
    """Return one Z for each qubit."""
    return tuple(f"Z{qubit}" for qubit in range(num_qubits))


def energy(pairs: Edges, fields: Iterable[int], field: float = 0.7) -> dict[str, Any]:
    """Return a transverse-field Ising Hamiltonian: -ZZ for each pair and -field X for each qubit.

    ``fields`` are the qubits in the field.
    """
    terms = [(f"Z{a} Z{b}", -1.0) for a, b in pairs]
    return {"name": "Ising energy", "terms": [*terms, *((f"X{q}", -field) for q in fields)]}


def heisenberg_energy(pairs: Edges) -> dict[str, Any]:
    """Return the sum of XX, YY and ZZ over pairs of qubits."""
    terms = [(string(letter, pair), 1.0) for pair in pairs for letter in "XYZ"]
    return {"name": "Heisenberg energy", "terms": terms}


def ising_energy(num_qubits: int) -> dict[str, Any]:
    """Return the energy of an open chain."""
    return energy(chain(num_qubits), range(num_qubits))


def chain(num_qubits: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs of neighbours on a line."""
    return tuple((qubit, qubit + 1) for qubit in range(num_qubits - 1))


def ring(num_qubits: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs of neighbours on a circle."""
    return (*chain(num_qubits), (num_qubits - 1, 0))


def label(num_qubits: int, letters: dict[int, str]) -> str:
    """Return a label with Qiskit's letters on some qubits and I on the others."""
    return "label:" + "".join(letters.get(q, "I") for q in reversed(range(num_qubits)))
