"""The second set: the same kinds of circuits with other seeds, sizes and structures.

Nobody tunes on it: a choice of methods that was made on the work set is checked here, once. If you
change a constant because of what this set shows, its numbers say nothing about new circuits.
"""

from __future__ import annotations

from math import pi

from circuits import FALCON, brick_wall, grid_edges, heavy_hex_edges, ladder, qaoa, regular_edges

from . import lattices, library
from . import random_circuits as drawn
from .analytic import adder_entry, bernstein_vazirani_entry, fourier_entry, ghz_entry, w_entry
from .entry import (
    Entry,
    chain,
    each_z,
    energy,
    heisenberg_energy,
    ising_energy,
    label,
    parity,
    ring,
    string,
)

_HUMMINGBIRD = heavy_hex_edges(5, 11)
_TREE = ((0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6))
_STAR = tuple((0, other) for other in range(1, 5))

SECOND: tuple[Entry, ...] = (
    ghz_entry(220, outcome=False),
    w_entry(90),
    bernstein_vazirani_entry(45, 7),
    fourier_entry(34, 987654321),
    adder_entry(19, 5),
    Entry("qft-19", "QFT", lambda: library.fourier(19), (string("X", range(0, 19, 3)), "Z18")),
    Entry(
        "efficient-su2-36",
        "ansatz",
        lambda: library.ansatz("efficient_su2", 36, 1, 100, entanglement="reverse_linear"),
        (ising_energy(36), "X0 Y1"),
    ),
    Entry(
        "real-amplitudes-15",
        "ansatz",
        lambda: library.ansatz("real_amplitudes", 15, 3, 101, entanglement="full"),
        (heisenberg_energy(ring(15)),),
    ),
    Entry(
        "pauli-feature-map-14",
        "feature map",
        lambda: library.feature_map("zz_feature_map", 14, 1, 102, entanglement="full"),
        ("Z1 Z2", "X0 X13", "1" * 14),
    ),
    Entry(
        "phase-estimation-19",
        "phase estimation",
        lambda: library.phase_estimation(18, 0.6180339),
        each_z(19)[::3],
    ),
    Entry("grover-9", "Grover", lambda: library.grover(9, 4, 300), (f"{300:09b}", "Z2 Z3")),
    Entry("quantum-volume-15", "volume", lambda: library.quantum_volume(15, 15, 103), ("X0 Z14",)),
    Entry("iqp-25", "IQP", lambda: library.iqp(25, 104), ("X0", "Y3 Z4")),
    Entry(
        "graph-state-150",
        "Clifford",
        lambda: library.graph_state(150, 105, 60),
        ("Z3 Z4", string("X", range(150)), label(150, {0: "+", 1: "0"})),
    ),
    Entry(
        "near-clifford-55",
        "near-Clifford",
        lambda: drawn.near_clifford(55, 220, 10, 106),
        (*each_z(55)[::5], "Z0 Z54"),
    ),
    Entry(
        "near-clifford-90-angles",
        "near-Clifford",
        lambda: drawn.near_clifford(90, 350, 14, 107, 0.9),
        ("Z3", "Z44 Z45"),
    ),
    Entry(
        "clifford-and-t-45",
        "near-Clifford",
        lambda: drawn.clifford_and_t(45, 250, 14, 108),
        each_z(45)[::4],
    ),
    Entry(
        "surface-code-9-kicked",
        "code",
        lambda: lattices.surface_code(9, 0.2, 6),
        tuple(string(letter, places) for letter, places in lattices.surface_stabilizers(9)[::3]),
    ),
    Entry(
        "kicked-ising-65-4",
        "kicked Ising",
        lambda: lattices.kicked_ising(_HUMMINGBIRD, 4, 0.4),
        ("Z30", "Z0", "X20 Z21"),
    ),
    Entry(
        "kicked-ising-27-6",
        "kicked Ising",
        lambda: lattices.kicked_ising(FALCON, 6, pi / 5),
        each_z(27)[::3],
    ),
    Entry("ising-33", "chain", lambda: lattices.ising(33, chain(33), 7, 0.15), each_z(33)),
    Entry(
        "heisenberg-ring-70",
        "chain",
        lambda: lattices.heisenberg(70, ring(70), 2),
        (heisenberg_energy(ring(70)),),
    ),
    Entry(
        "ising-ladder-44",
        "lattice",
        lambda: lattices.ising(44, grid_edges(2, 22), 3),
        (energy(grid_edges(2, 22), range(44)), "Z20 Z21"),
    ),
    Entry(
        "qaoa-regular-32",
        "QAOA",
        lambda: qaoa(32, regular_edges(32, 9)),
        (energy(regular_edges(32, 9), ()),),
    ),
    Entry(
        "blocks-tree-7x9",
        "blocks",
        lambda: drawn.linked_blocks(9, _TREE, 2, 10, 109),
        (string("Z", range(0, 63, 9)), "X4 X60"),
        block_width=9,
    ),
    Entry(
        "blocks-star-5x11",
        "blocks",
        lambda: drawn.linked_blocks(11, _STAR, 2, 9, 110),
        (ising_energy(55),),
        block_width=11,
    ),
    Entry(
        "blocks-3x15",
        "blocks",
        lambda: drawn.linked_blocks(15, chain(3), 3, 9, 111, angle=1.1),
        ("Z0 Z22 Z44",),
        block_width=15,
    ),
    Entry("ladder-30-3", "brickwork", lambda: ladder(30, 3, 112), ("Z0", "Z29", parity(30))),
    Entry("brickwork-75-5", "brickwork", lambda: brick_wall(75, 5, 113), (ising_energy(75),)),
    Entry("random-11", "random", lambda: library.random_small(11, 40, 114), ("Z5", "1" * 11)),
    Entry(
        "mixture-codes-blocks",
        "mixture",
        lambda: drawn.mixture(
            (
                lambda: lattices.surface_code(5, 0.4, 3),
                lambda: drawn.linked_blocks(10, chain(2), 2, 8, 115),
                lambda: lattices.heisenberg(24, chain(24), 3),
            ),
            116,
        ),
        (*each_z(69)[::6], "Z1 Z33 Z60"),
    ),
    Entry(
        "projectors-brickwork-48",
        "projectors",
        lambda: brick_wall(48, 3, 117),
        ("01" * 24, label(48, {5: "l", 20: "-", 21: "0"})),
    ),
)
"""The entries, by kind."""
