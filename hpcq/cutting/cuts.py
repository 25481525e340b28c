"""Cuts of gates and wires, as users write and save them.

Positions count two-qubit gates only, so that barriers, one-qubit gates and final measurements in
the circuit's file do not change them.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.core import strict_json
from hpcq.core.errors import InputError
from hpcq.core.files import check_writable, open_regular, printable_path

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

CUTS_FORMAT = "hpcq-cuts"
CUTS_FORMAT_VERSION = 1
"""Version of the format of files of cuts; files of another version are refused."""

_MAX_FILE_BYTES = 64 << 20
"""Largest file of cuts that is read, in bytes: 64 MiB; larger ones are refused."""

_LIST_KEYS = {"gate_cuts", "wire_cuts"}


@dataclass(frozen=True, order=True)
class GateCut:
    """A two-qubit gate that is cut.

    Attributes:
        gate: Its index among the two-qubit gates of the circuit, counted from 0 after gates on
            more qubits were decomposed.
        qubits: The two qubits that it acts on, as a check; empty if the file does not give them.
    """

    gate: int
    qubits: tuple[int, ...] = ()


@dataclass(frozen=True, order=True)
class WireCut:
    """A wire that is cut right after a two-qubit gate.

    Attributes:
        qubit: The qubit whose wire is cut.
        after: Number of the qubit's two-qubit gates before the cut; at least 1, and fewer than the
            qubit has.
    """

    qubit: int
    after: int


@dataclass(frozen=True)
class Cuts:
    """All cuts of one circuit, sorted and without repeats.

    Attributes:
        gates: The gates that are cut.
        wires: The wires that are cut.
        simplified: Whether the circuit is simplified (:mod:`hpcq.cutting.passes`) before it is
            cut; the positions of the cuts are those in the original circuit in either case.
        cones: The cuts of each light cone, if there are several.
    """

    gates: tuple[GateCut, ...] = ()
    wires: tuple[WireCut, ...] = ()
    simplified: bool = False
    cones: tuple[Cuts, ...] = ()

    def to_json(self) -> str:
        """Return the text that ``hpcq plan --save`` writes and ``--cuts`` reads."""
        head = {"format": CUTS_FORMAT, "format_version": CUTS_FORMAT_VERSION}
        return json.dumps({**head, **self._as_json()}, indent=1)

    def _as_json(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "gate_cuts": [
                {"gate": g.gate, "qubits": list(g.qubits)} if g.qubits else {"gate": g.gate}
                for g in self.gates
            ],
            "wire_cuts": [{"qubit": w.qubit, "after": w.after} for w in self.wires],
        }
        if self.simplified:
            values["simplified"] = True
        if self.cones:
            values["cones"] = [cone._as_json() for cone in self.cones]
        return values

    @classmethod
    def from_json(cls, text: str, source: str = "cuts") -> Cuts:
        """Read the text that :meth:`to_json` writes; an InputError names another by its source."""
        try:
            data = strict_json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{source}: expected JSON, got: {str(error)[:100]}") from None
        if not isinstance(data, Mapping):
            raise InputError(f"{source}: expected a JSON object, got {strict_json.json_type(data)}")
        found = data.get("format", CUTS_FORMAT)
        if found != CUTS_FORMAT:
            raise InputError(f"{source}: format is {str(found)[:40]!r}, expected {CUTS_FORMAT!r}")
        found = data.get("format_version", CUTS_FORMAT_VERSION)
        if isinstance(found, bool) or found != CUTS_FORMAT_VERSION:
            expected = f"expected {CUTS_FORMAT_VERSION}"
            raise InputError(f"{source}: format_version is {str(found)[:40]}, {expected}")
        unknown = set(data) - {"format", "format_version", "simplified", "cones", *_LIST_KEYS}
        if unknown:
            key = min(map(str, unknown))[:40]
            raise InputError(f"{source}: unknown key {key!r}, expected gate_cuts and wire_cuts")
        simplified = data.get("simplified", False)
        if not isinstance(simplified, bool):
            shown = str(simplified)[:40]
            raise InputError(f"{source}: simplified is {shown}, expected true or false")
        if "cones" in data and not simplified:
            raise InputError(f"{source}: it has cones, expected simplified to be true with them")
        cones = tuple(
            cls._from_lists(entry, f"{source}: {where}")
            for where, entry in _entries(data, "cones", _LIST_KEYS, source)
        )
        return replace(cls._from_lists(data, source), simplified=simplified, cones=cones)

    @classmethod
    def _from_lists(cls, data: Mapping[str, Any], source: str) -> Cuts:
        gates = [
            GateCut(
                _integer(entry, "gate", where, source),
                _integers(entry.get("qubits", []), f"{where}.qubits", source),
            )
            for where, entry in _entries(data, "gate_cuts", {"gate", "qubits"}, source)
        ]
        wires = [
            WireCut(*(_integer(entry, key, where, source) for key in ("qubit", "after")))
            for where, entry in _entries(data, "wire_cuts", {"qubit", "after"}, source)
        ]
        cuts = cls(tuple(sorted(gates)), tuple(sorted(wires)))
        cuts._check_distinct(source)
        return cuts

    def check(self, circuit: QuantumCircuit, source: str = "cuts") -> None:
        """Raise an InputError for the first cut whose position the normalised circuit has not."""
        for number, cone in enumerate(self.cones):
            cone.check(circuit, f"{source}: cones[{number}]")
        self._check_distinct(source)
        pairs = two_qubit_gates(circuit)
        for gate in self.gates:
            at = f"{source}: gate cut at gate {gate.gate}"
            if not pairs:
                raise InputError(f"{at}, but the circuit has no two-qubit gates")
            if not 0 <= gate.gate < len(pairs):
                raise InputError(
                    f"{at}, expected 0 to {len(pairs) - 1} (the circuit has {len(pairs)} two-qubit "
                    "gates)"
                )
            if gate.qubits and sorted(gate.qubits) != sorted(pairs[gate.gate]):
                raise InputError(
                    f"{source}: gate {gate.gate} is said to act on qubits {list(gate.qubits)}, "
                    f"in the circuit it acts on {list(pairs[gate.gate])}"
                )
        count = Counter(qubit for pair in pairs for qubit in pair)
        for wire in self.wires:
            on, gates = f"{source}: wire cut on qubit {wire.qubit}", count[wire.qubit]
            if not 0 <= wire.qubit < circuit.num_qubits:
                raise InputError(f"{on}, expected 0 to {circuit.num_qubits - 1}")
            if gates < 2:
                raise InputError(
                    f"{on}, which has {gates} two-qubit gates; expected a qubit with at least 2, "
                    "to be cut between them"
                )
            if not 1 <= wire.after < gates:
                raise InputError(
                    f"{on} after its two-qubit gate number {wire.after}, expected 1 to {gates - 1} "
                    f"(the qubit has {gates})"
                )

    def _check_distinct(self, source: str) -> None:
        for gate, count in Counter(cut.gate for cut in self.gates).items():
            if count > 1:
                expected = "expected each gate once at most"
                raise InputError(f"{source}: gate {gate} is cut twice, {expected}")
        for wire, count in Counter(self.wires).items():
            if count > 1:
                raise InputError(
                    f"{source}: the wire of qubit {wire.qubit} is cut twice after its two-qubit "
                    f"gate number {wire.after}, expected each place once at most"
                )


def cuts_from_partition(
    circuit: QuantumCircuit, labels: str | Sequence[object], source: str = "partition"
) -> Cuts:
    """Cut every two-qubit gate between qubits of different labels, such as those of ``"AAABBB"``.

    Raises:
        InputError: If there are more or fewer labels than qubits.
    """
    if len(labels) != circuit.num_qubits:
        shown = labels if isinstance(labels, str) else list(labels)
        raise InputError(
            f"{source}: {str(shown)[:40]!r} has {len(labels)} labels, expected one for each of "
            f"the circuit's {circuit.num_qubits} qubits"
        )
    pairs = enumerate(two_qubit_gates(circuit))
    return Cuts(tuple(GateCut(gate, (a, b)) for gate, (a, b) in pairs if labels[a] != labels[b]))


def split_labels(labels: str, source: str = "partition") -> str | list[str]:
    """Split labels at their commas, as in ``"0,0,10,10"``; return them unchanged without commas.

    Raises:
        InputError: If a label is empty.
    """
    if "," not in labels:
        return labels
    split = [label.strip() for label in labels.split(",")]
    if not all(split):
        raise InputError(f"{source}: {labels[:40]!r} has an empty label, expected none")
    return split


def read_cuts(path: Path) -> Cuts:
    """Read a file of cuts; raise an InputError if it is none."""
    descriptor = open_regular(path, _MAX_FILE_BYTES, "cuts as `hpcq plan --save` writes them")
    with os.fdopen(descriptor, encoding="utf-8-sig") as file:
        try:
            text = file.read()
        except (OSError, UnicodeDecodeError):
            raise InputError(f"{printable_path(path)}: it is not UTF-8 text") from None
    return Cuts.from_json(text, source=printable_path(path))


def check_cuts_file(path: Path) -> Path:
    """Check that cuts can be saved to a path, and return the resolved path.

    Raises:
        InputError: If they cannot, or if the path is an existing file that holds no cuts.
    """

    def holds_cuts(path: Path) -> bool:
        try:
            read_cuts(path)
        except InputError:
            return False
        return True

    return check_writable(path, "save", holds_cuts, "a file of cuts")


def two_qubit_gates(circuit: QuantumCircuit) -> list[tuple[int, int]]:
    """Return the qubit pairs of the two-qubit gates, in the circuit's order."""
    index = {qubit: number for number, qubit in enumerate(circuit.qubits)}
    return [
        (index[instruction.qubits[0]], index[instruction.qubits[1]])
        for instruction in circuit.data
        if len(instruction.qubits) == 2
    ]


def _entries(
    data: Mapping[str, Any], key: str, known: set[str], source: str
) -> list[tuple[str, Mapping[str, Any]]]:
    entries = data.get(key, [])
    if not isinstance(entries, list):
        raise InputError(f"{source}: {key} is {str(entries)[:40]}, expected a list")
    for position, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or set(entry) - known:
            raise InputError(
                f"{source}: {key}[{position}] is {str(entry)[:60]}, expected an object with the "
                f"keys {' and '.join(sorted(known))}"
            )
    return [(f"{key}[{position}]", entry) for position, entry in enumerate(entries)]


def _integer(entry: Mapping[str, Any], key: str, where: str, source: str) -> int:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 1 << 62:
        raise InputError(f"{source}: {where}.{key} is {str(value)[:40]}, expected an integer")
    return value


def _integers(values: object, where: str, source: str) -> tuple[int, ...]:
    if not isinstance(values, list) or any(type(value) is not int for value in values):
        raise InputError(f"{source}: {where} is {str(values)[:40]}, expected a list of two qubits")
    return tuple(values)
