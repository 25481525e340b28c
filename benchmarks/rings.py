"""The circuits of the scaling benchmark: the same work, however many ranks share it.

Importing this module loads nothing but the standard library.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from math import pi
from pathlib import Path
from typing import Any

_SIMULATED = 18  # qubits of a simulated state
_STATES = 48 << _SIMULATED  # bytes for two states of so many qubits, and for none wider


@dataclass(frozen=True)
class Ring:
    """A ring of blocks of qubits: brick walls, joined by CZ gates, which are cut.

    A rank has memory for states of 18 qubits, so that the ports are sliced and a block becomes
    many tasks: pairs of branches, each a simulation. No block is equal to another, so none is
    shared; from block to block the layers rise from half the depth to one and a half of it.

    Attributes:
        blocks: Number of blocks.
        share: Number of blocks after which the layers start again, so that every multiple of it
            is a multiple of the work.
        depth: Layers of a block on average.
        sliced: Ports of a block that are sliced, from 2 on; an odd number leaves one open.
    """

    blocks: int
    share: int
    depth: int
    sliced: int

    @property
    def links(self) -> int:
        """CZ gates between two neighbouring blocks."""
        return -(-self.sliced // 2)

    @property
    def width(self) -> int:
        """Qubits of a block."""
        return _SIMULATED - self.sliced % 2

    @property
    def simulations(self) -> int:
        """Simulations of a block: two for each pair of branches, one for a branch with itself."""
        return 4**self.sliced

    @property
    def tasks(self) -> int:
        """Tasks of all blocks: pairs of branches."""
        return self.blocks * (self.simulations + 2**self.sliced) // 2

    @property
    def memory(self) -> int:
        """Bytes of a rank: the states, and the tensors of all blocks."""
        return _STATES + self.blocks * 112 * 16**self.links

    def layers(self, block: int) -> int:
        """Layers of a block."""
        factor = 0.5 + (block % self.share + 0.5) / self.share
        return max(self.links + 1, round(self.depth * factor))

    def write(self, folder: Path) -> list[str]:
        """Write circuit, cuts and observables, and return them as arguments of ``hpcq``."""
        lines = ["OPENQASM 2.0;", 'include "qelib1.inc";', f"qreg q[{self.blocks * self.width}];"]
        randoms = [random.Random(block) for block in range(self.blocks)]
        cuts: list[dict[str, Any]] = []
        pairs = 0
        for part in range(self.links + 1):
            for block, rng in enumerate(randoms):
                start, end = (self.layers(block) * (part + k) // (self.links + 1) for k in (0, 1))
                qubits = range(block * self.width, (block + 1) * self.width)
                for layer in range(start, end):
                    for qubit in qubits:
                        lines.append(f"rx({rng.uniform(0, 2 * pi):.6f}) q[{qubit}];")
                    bricks = qubits[layer % 2 : -1 : 2]
                    lines += [f"cz q[{qubit}],q[{qubit + 1}];" for qubit in bricks]
                    pairs += len(bricks)
            for block in range(self.blocks if part < self.links else 0):
                a = (block + 1) * self.width - 1 - 3 * part
                b = (block + 1) % self.blocks * self.width + 3 * part
                lines.append(f"cz q[{a}],q[{b}];")
                cuts.append({"gate": pairs, "qubits": [a, b]})
                pairs += 1
        firsts = [block * self.width for block in range(self.blocks)]
        asked = [
            {"name": f"Z{a} Z{b}", "terms": [[f"Z{a} Z{b}", 1.0]]}
            for a, b in zip(firsts, firsts[1:] + firsts[:1], strict=True)
        ]
        circuit, cuts_file, observables = (
            folder / f"ring.{name}" for name in ("qasm", "cuts", "asked")
        )
        circuit.write_text("\n".join(lines) + "\n", encoding="utf-8")
        cuts_file.write_text(json.dumps({"gate_cuts": cuts, "wire_cuts": []}), encoding="utf-8")
        observables.write_text(json.dumps(asked), encoding="utf-8")
        return [str(circuit), "--cuts", str(cuts_file), "--observables", str(observables)]
