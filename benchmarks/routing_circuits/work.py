"""The work set: what methods and their choice are developed and tuned on."""

from __future__ import annotations

from math import pi

from circuits import adder, brick_wall, grid_edges, qaoa, regular_edges

from . import lattices, library
from . import random_circuits as drawn
from .analytic import (
    adder_entry,
    bernstein_vazirani_entry,
    fourier_entry,
    ghz_entry,
    product_entry,
    w_entry,
)
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

_EAGLE = lattices.EAGLE
_EAGLE_Z = (*each_z(127)[62:63], "Z0", "X13 Y29 Z31")

_STATES = (
    ghz_entry(40),
    ghz_entry(300, outcome=False),
    ghz_entry(120, star=True, outcome=False),
    w_entry(12),
    w_entry(60),
    w_entry(200),
    bernstein_vazirani_entry(70, 0, outcome=False),
    fourier_entry(16, 12345),
    fourier_entry(50, 0xABCDEF012345),
    adder_entry(8, 0),
    adder_entry(30, 1),
    product_entry(60),
)

_LIBRARY = (
    Entry("qft-16", "QFT", lambda: library.fourier(16), ("Z0", "X3 X4", parity(16))),
    Entry("qft-22", "QFT", lambda: library.fourier(22), ("Z0 Z21", "X5")),
    Entry("qft-40-reach-4", "QFT", lambda: library.fourier(40, 4), ("X0", "Z3 X20", "Z39")),
    Entry(
        "efficient-su2-10",
        "ansatz",
        lambda: library.ansatz("efficient_su2", 10, 3, 0, entanglement="full"),
        (ising_energy(10), parity(10)),
    ),
    Entry(
        "efficient-su2-24",
        "ansatz",
        lambda: library.ansatz("efficient_su2", 24, 2, 1, entanglement="circular"),
        (ising_energy(24),),
    ),
    Entry(
        "efficient-su2-80",
        "ansatz",
        lambda: library.ansatz("efficient_su2", 80, 2, 2, entanglement="linear"),
        (ising_energy(80),),
    ),
    Entry(
        "real-amplitudes-20",
        "ansatz",
        lambda: library.ansatz("real_amplitudes", 20, 4, 3, entanglement="pairwise"),
        each_z(20),
    ),
    Entry(
        "real-amplitudes-100",
        "ansatz",
        lambda: library.ansatz("real_amplitudes", 100, 1, 4, entanglement="reverse_linear"),
        (ising_energy(100), "Z50"),
    ),
    Entry(
        "two-local-14",
        "ansatz",
        lambda: library.two_local(14, 3, 5, "sca"),
        ("Z0", "X3 Z4 Y5", parity(14)),
    ),
    Entry(
        "excitation-preserving-16",
        "ansatz",
        lambda: library.ansatz("excitation_preserving", 16, 2, 6, entanglement="linear"),
        (heisenberg_energy(chain(16)),),
    ),
    Entry(
        "zz-feature-map-18",
        "feature map",
        lambda: library.feature_map("zz_feature_map", 18, 2, 7, entanglement="linear"),
        ("Z0", "X8 X9", "0" * 18),
    ),
    Entry(
        "phase-estimation-13",
        "phase estimation",
        lambda: library.phase_estimation(12, 0.3),
        each_z(13),
    ),
    Entry("grover-8", "Grover", lambda: library.grover(8, 3, 77), (f"{77:08b}", "Z0", "Z7")),
    Entry("grover-11", "Grover", lambda: library.grover(11, 2, 1234), (f"{1234:011b}", "Z3")),
    Entry("quantum-volume-12", "volume", lambda: library.quantum_volume(12, 12, 8), each_z(12)),
    Entry("quantum-volume-20", "volume", lambda: library.quantum_volume(20, 8, 9), ("Z0 Z19",)),
    Entry("iqp-12", "IQP", lambda: library.iqp(12, 10), ("Z0", "Z0 Z1", "X4")),
    Entry("iqp-40", "IQP", lambda: library.iqp(40, 11), ("X4", "Z0")),
    Entry(
        "graph-state-60",
        "Clifford",
        lambda: library.graph_state(60, 12, 20),
        ("X0 Z1 Z59", string("X", range(60)), "Z5"),
    ),
    Entry("multiplier-3", "arithmetic", lambda: library.multiplier(3), each_z(12)),
    Entry(
        "weighted-sum-6", "arithmetic", lambda: library.weighted_sum([1, 2, 3, 1, 2, 1]), ("Z6",)
    ),
    Entry("adder-10", "arithmetic", lambda: adder(10), each_z(22)),
    Entry("adder-25", "arithmetic", lambda: adder(25), ("Z51", "Z3", "Z10 Z12")),
)

_CLIFFORD = (
    Entry(
        "clifford-echo-100",
        "Clifford",
        lambda: drawn.near_clifford(100, 400, 0, 20),
        (*each_z(100)[:5], parity(100)),
    ),
    Entry(
        "clifford-by-angle-127",
        "Clifford",
        lambda: lattices.kicked_ising(_EAGLE, 8, pi / 2),
        (*_EAGLE_Z, energy(_EAGLE, range(127))),
    ),
    Entry(
        "near-clifford-20", "near-Clifford", lambda: drawn.near_clifford(20, 80, 4, 21), each_z(20)
    ),
    Entry(
        "near-clifford-40",
        "near-Clifford",
        lambda: drawn.near_clifford(40, 200, 12, 22),
        ("Z0", "Z7 Z30", ising_energy(40)),
    ),
    Entry(
        "near-clifford-70",
        "near-Clifford",
        lambda: drawn.near_clifford(70, 300, 8, 23),
        (*each_z(70)[:10], parity(70)),
    ),
    Entry(
        "near-clifford-100",
        "near-Clifford",
        lambda: drawn.near_clifford(100, 500, 16, 24),
        ("Z0", "Z50", "Z20 Z80"),
    ),
    Entry(
        "near-clifford-small-angles-50",
        "near-Clifford",
        lambda: drawn.near_clifford(50, 250, 30, 25, 0.05),
        ("Z0", "Z25"),
    ),
    Entry(
        "clifford-and-t-30",
        "near-Clifford",
        lambda: drawn.clifford_and_t(30, 120, 10, 26),
        (*each_z(30), "X3 X4"),
    ),
    Entry(
        "clifford-and-t-80",
        "near-Clifford",
        lambda: drawn.clifford_and_t(80, 500, 20, 27),
        ("Z10", "X40", "Z70 Z71"),
    ),
    Entry(
        "surface-code-7",
        "code",
        lambda: lattices.surface_code(7),
        ("X0 X1", "Z0 Z1", string("Z", range(7)), string("X", range(0, 49, 7))),
    ),
    Entry(
        "surface-code-5-kicked",
        "code",
        lambda: lattices.surface_code(5, 0.3, 5),
        tuple(string(letter, places) for letter, places in lattices.surface_stabilizers(5)),
    ),
)

_LATTICES = (
    *(
        Entry(
            f"kicked-ising-127-{steps}-{angle:g}",
            "kicked Ising",
            lambda steps=steps, angle=angle: lattices.kicked_ising(_EAGLE, steps, angle),  # type: ignore[misc]
            _EAGLE_Z,
        )
        for steps, angle in ((1, 0.7), (3, 0.3), (3, 0.8), (5, 0.2), (5, 0.7), (8, 0.1))
    ),
    Entry(
        "kicked-ising-127-energy",
        "kicked Ising",
        lambda: lattices.kicked_ising(_EAGLE, 3, 0.5),
        (energy(_EAGLE, range(127)),),
    ),
    Entry(
        "ising-10", "chain", lambda: lattices.ising(10, chain(10), 10), (ising_energy(10), "Z0 Z9")
    ),
    Entry("ising-24", "chain", lambda: lattices.ising(24, chain(24), 6), (ising_energy(24),)),
    Entry("ising-60", "chain", lambda: lattices.ising(60, chain(60), 5), (ising_energy(60), "Z30")),
    Entry("ising-120", "chain", lambda: lattices.ising(120, chain(120), 3), (ising_energy(120),)),
    Entry("ising-ring-40", "chain", lambda: lattices.ising(40, ring(40), 4), each_z(40)),
    Entry(
        "heisenberg-20",
        "chain",
        lambda: lattices.heisenberg(20, chain(20), 4),
        (heisenberg_energy(chain(20)),),
    ),
    Entry("heisenberg-50", "chain", lambda: lattices.heisenberg(50, chain(50), 3), each_z(50)),
    Entry(
        "heisenberg-100",
        "chain",
        lambda: lattices.heisenberg(100, chain(100), 2),
        ("Z50 Z51", "Z0"),
    ),
    Entry(
        "ising-grid-25",
        "lattice",
        lambda: lattices.ising(25, grid_edges(5, 5), 2),
        (energy(grid_edges(5, 5), range(25)),),
    ),
    Entry(
        "ising-grid-64",
        "lattice",
        lambda: lattices.ising(64, grid_edges(8, 8), 2),
        ("Z27", "Z27 Z28"),
    ),
    Entry(
        "qaoa-regular-20",
        "QAOA",
        lambda: qaoa(20, regular_edges(20, 0), 2),
        (energy(regular_edges(20, 0), ()),),
    ),
    Entry(
        "qaoa-regular-60",
        "QAOA",
        lambda: qaoa(60, regular_edges(60, 1)),
        (energy(regular_edges(60, 1), ()),),
    ),
    Entry("qaoa-ring-100", "QAOA", lambda: qaoa(100, list(ring(100)), 3), (energy(ring(100), ()),)),
)

_DENSE = (
    Entry(
        "blocks-10x10",
        "blocks",
        lambda: drawn.linked_blocks(10, chain(10), 3, 12, 40),
        (string("Z", range(0, 100, 8)), "Z0", "X55"),
        block_width=10,
    ),
    Entry(
        "blocks-4x12",
        "blocks",
        lambda: drawn.linked_blocks(12, chain(4), 3, 12, 41),
        (string("Z", range(0, 48, 4)), "Z0 Z47"),
        block_width=12,
    ),
    Entry(
        "blocks-4x12-energy",
        "blocks",
        lambda: drawn.linked_blocks(12, chain(4), 2, 10, 42),
        (ising_energy(48),),
        block_width=12,
    ),
    Entry(
        "blocks-2x20",
        "blocks",
        lambda: drawn.linked_blocks(20, chain(2), 3, 8, 43),
        ("Z0 Z39",),
        block_width=20,
    ),
    Entry(
        "blocks-ring-6x8",
        "blocks",
        lambda: drawn.linked_blocks(8, ring(6), 2, 10, 44),
        ("Z0 Z20 Z40", label(48, {3: "0", 30: "1"})),
        block_width=8,
    ),
    Entry(
        "blocks-weak-3x14",
        "blocks",
        lambda: drawn.linked_blocks(14, chain(3), 3, 8, 45, angle=0.2),
        (parity(42), "Z20"),
        block_width=14,
    ),
    Entry("brickwork-16-20", "brickwork", lambda: brick_wall(16, 20, 46), (ising_energy(16),)),
    Entry("brickwork-60-4", "brickwork", lambda: brick_wall(60, 4, 47), (ising_energy(60),)),
    Entry("brickwork-40-10", "brickwork", lambda: brick_wall(40, 10, 48), ("Z0 Z1", "Z20")),
    Entry("brickwork-100-6", "brickwork", lambda: brick_wall(100, 6, 49), each_z(100)),
    Entry("su4-wall-18", "brickwork", lambda: drawn.su4_wall(18, 6, 50), ("Z9", "X0 Z1")),
    Entry("su4-wall-50", "brickwork", lambda: drawn.su4_wall(50, 4, 51), ("Z25", "X10 Z40")),
    Entry("rare-links-36", "brickwork", lambda: drawn.rare_links(36, 4, 52, 0.05), ("Z0", "Z3 Z9")),
    *(
        Entry(
            f"random-{width}",
            "random",
            lambda width=width, depth=depth: library.random_small(width, depth, width),  # type: ignore[misc]
            ("Z0", parity(width), "0" * width, string("X", range(2))),
        )
        for width, depth in ((4, 10), (7, 20), (9, 30), (12, 25))
    ),
    Entry(
        "mixture-clifford-dense",
        "mixture",
        lambda: drawn.mixture(
            (
                lambda: drawn.near_clifford(60, 200, 0, 53),
                lambda: drawn.su4_wall(14, 6, 54),
            ),
            55,
        ),
        (*each_z(74)[:20], parity(74)),
    ),
    Entry(
        "mixture-chain-volume",
        "mixture",
        lambda: drawn.mixture(
            (
                lambda: lattices.ising(40, chain(40), 3),
                lambda: library.quantum_volume(10, 8, 56),
                lambda: drawn.near_clifford(20, 60, 3, 57),
            ),
            58,
        ),
        (*each_z(70)[::7], "Z0 Z35 Z69"),
    ),
    Entry(
        "projectors-brickwork-20",
        "projectors",
        lambda: brick_wall(20, 4, 59),
        ("0" * 20, label(20, {0: "+", 7: "r", 12: "1"}), "10" * 10),
    ),
    Entry(
        "projectors-ising-50",
        "projectors",
        lambda: lattices.ising(50, chain(50), 2),
        ("0" * 50, label(50, dict.fromkeys(range(20, 26), "0"))),
    ),
)

WORK: tuple[Entry, ...] = (*_STATES, *_LIBRARY, *_CLIFFORD, *_LATTICES, *_DENSE)
"""The entries, by kind."""
