"""What outcomes.py measures: circuits, what is compared, and the targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from program_targets import Target
from workloads import BLOCKS_24, BLOCKS_100, Blocks

NUM_OUTCOMES = 20_000
"""Number of outcomes whose amplitudes are computed."""

MARGINAL_QUBITS = 20
"""Number of qubits of a marginal, chosen at random."""

NUM_TOP = 10
"""Number of most probable outcomes."""

FEW, MANY = 10_000, 1_000_000
"""Numbers of samples."""


@dataclass(frozen=True)
class Case:
    """A circuit, cut between its blocks.

    Attributes:
        name: Name of the case.
        blocks: The circuit.
        peers: Methods of Aer that sample the uncut circuit.
        shots: Numbers of samples to draw.
        repeats: Turns that count, at most; large cases take long.
        draws_only: Whether only draws from the simulated circuit are measured, and its simulation.
    """

    name: str
    blocks: Blocks
    peers: tuple[str, ...] = ()
    shots: tuple[int, ...] = (FEW, MANY)
    repeats: int = 5
    draws_only: bool = False


CASES = (
    Case("24-qubits", BLOCKS_24, ("mps", "statevector")),
    Case("100-qubits", BLOCKS_100),
    Case(
        "dense-40",
        Blocks(2, 20, 20, 3, "random", seed=6),
        shots=(MANY,),
        repeats=1,
        draws_only=True,
    ),
)

QUICK = ("24-qubits",)

COMPARISONS: tuple[tuple[str, str], ...] = (
    (f"samples-{FEW}", "mps"),
    (f"samples-{MANY}", "statevector"),
    (f"samples-{FEW}", "expectation"),
    (f"drawn-{FEW}", "expectation"),
    (f"samples-{MANY}", "expectation"),
    (f"drawn-{MANY}", "expectation"),
    (f"drawn-{MANY}", "pieces"),
    ("amplitudes", "expectation"),
    ("marginal", "expectation"),
    ("top", "expectation"),
)
"""The rows of each case: hpcq's number, and the method that it is compared with."""

TARGETS: Mapping[tuple[str, str, str], Target] = {
    ("24-qubits", f"samples-{FEW}", "mps"): Target(20),
    ("24-qubits", f"samples-{MANY}", "statevector"): Target(10),
    ("100-qubits", f"drawn-{FEW}", "expectation"): Target(1, at_least=False),
    ("100-qubits", f"drawn-{MANY}", "expectation"): Target(60, at_least=False),
    ("dense-40", f"drawn-{MANY}", "pieces"): Target(1, at_least=False),
    ("100-qubits", "amplitudes", "expectation"): Target(1, at_least=False),
    ("100-qubits", "marginal", "expectation"): Target(1, at_least=False),
}
"""Targets by case, hpcq's number and the other method."""

MEMORY_CASE, MEMORY_GIB = "100-qubits", 1.0
"""Case whose peak memory is measured while ``MANY`` samples are drawn, and its maximum in GiB."""
