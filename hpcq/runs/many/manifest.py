"""The manifest of many circuits: the state of each, in one JSON file beside their results."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.core.errors import HpcqError, InputError, NotWrittenError
from hpcq.core.files import (
    check_writable,
    printable,
    printable_path,
    read_sidecar,
    write_atomic,
)
from hpcq.core.strict_json import loads
from hpcq.core.system import write_stderr
from hpcq.results.json_checks import Check, is_a, shown

if TYPE_CHECKING:
    from hpcq.results.result import Result

NAME = "manifest.json"
"""Name of the file in the folder of the results."""

_FORMAT = {"format": "hpcq-manifest", "format_version": 1}

_MIN_PAUSE_SECONDS, _MIN_PAUSE_FACTOR = 1.0, 50.0
"""Minimum pause between writes in seconds, and in multiples of the last write time: at most 2 %
overhead. Longer: a job that is killed leaves an older manifest, beside all its results."""

_MAX_BYTES = 1 << 30
"""Largest file that may be read or replaced; a circuit takes about 300 bytes."""

STATES = ("pending", "partial", "complete", "failed")
"""States of a circuit."""


@dataclass(frozen=True)
class Entry:
    """The state of one circuit.

    Attributes:
        circuit: The circuit, as the user gave it.
        file: Name of its result in the folder; None without a folder.
        state: ``pending``, ``partial``, ``complete`` or ``failed``.
        reason: Why it failed, in one line; empty otherwise.
        method: The method of its plan; empty while it is not known.
        max_error_bound: Largest error bound of its values; None where one is not known.
        predicted_seconds: Predicted seconds of its run on the ranks that it was planned for; None
            where they are not known.
        taken_seconds: Seconds that all its starts took; None while it is not complete.
    """

    circuit: str
    file: str | None = None
    state: str = "pending"
    reason: str = ""
    method: str = ""
    max_error_bound: float | None = None
    predicted_seconds: float | None = None
    taken_seconds: float | None = None

    def with_result(self, result: Result) -> Entry:
        """Return the entry of the circuit with its result."""
        return replace(
            self,
            state=result.status,
            reason="",
            method=result.method,
            max_error_bound=_finite(np.max(result.error_bounds, initial=0.0)),
            predicted_seconds=_finite(result.predicted_seconds),
            taken_seconds=_finite(result.taken_seconds),
        )


class Manifest:
    """The entries of all circuits, and the file that shows them.

    Args:
        entries: The entries, in the order of the command line.
        folder: The folder of the results; None for no file.

    Raises:
        InputError: If the file cannot be written, or exists and is no manifest.
    """

    def __init__(self, entries: Sequence[Entry], folder: Path | None) -> None:
        self.entries = list(entries)
        self.path: Path | None = None
        if folder is not None:
            self.path = check_writable(folder / NAME, "output", _is_manifest, "a manifest of hpcq")
        self._is_stale, self._last, self._seconds = True, -math.inf, 0.0

    def update(self, index: int, entry: Entry) -> None:
        """Replace an entry; the next write of the file includes it."""
        self.entries[index] = entry
        self._is_stale = True

    def count(self, state: str) -> int:
        """Return the number of circuits in a state."""
        return sum(entry.state == state for entry in self.entries)

    def write_if_due(self) -> None:
        """Write the file if it is stale and the last write is some time ago."""
        pause = max(_MIN_PAUSE_SECONDS, _MIN_PAUSE_FACTOR * self._seconds)
        if self._is_stale and time.monotonic() - self._last >= pause:
            self.write()

    def write(self) -> None:
        """Write the file, all or nothing; if that fails, print a warning and continue."""
        if self.path is None or not self._is_stale:
            return
        start = time.monotonic()
        try:
            write_atomic(self.path, self._content(), "output")
        except NotWrittenError as error:
            write_stderr(f"hpcq: warning: {' '.join(str(error).split())}")
        self._last = time.monotonic()
        self._seconds, self._is_stale = self._last - start, False

    def _content(self) -> bytes:
        heads = json.dumps(_FORMAT)[1:-1]
        lines = ",\n".join(json.dumps(asdict(entry), allow_nan=False) for entry in self.entries)
        return f'{{{heads}, "circuits": [\n{lines}\n]}}\n'.encode()


def read_manifest(folder: Path) -> list[Entry]:
    """Return the entries of the manifest in a folder, which anybody may have written.

    Raises:
        InputError: If there is none, or it is not valid.
    """
    path = folder / NAME
    try:
        content = loads(read_sidecar(path, _MAX_BYTES))
        _check_heading(content)
        return list(map(_entry, content["circuits"]))
    except FileNotFoundError:
        raise InputError(
            f"{printable_path(folder)}: a folder without {NAME}, expected a result, or the folder "
            "that `hpcq run` wrote for several circuits"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = printable(str(error))[:100]
        raise InputError(f"{printable_path(path)}: not a valid manifest ({reason})") from None


def _check_heading(content: Any) -> None:
    for key, expected in _FORMAT.items():
        if (found := content.get(key) if isinstance(content, dict) else content) != expected:
            raise ValueError(f"{key} is {shown(found)}, expected {expected!r}")


def _entry(content: Any) -> Entry:
    """Return an entry that was read from JSON; other keys are those of a later version."""
    if type(content) is not dict:
        raise ValueError(f"a circuit is {shown(content)}, expected an object")
    known = {name: content[name] for name in _CHECKS if name in content}
    for name, value in known.items():
        if not _CHECKS[name](value):
            raise ValueError(f"{name} is {shown(value)}")
    return Entry(**known)


_is_text, _is_number = is_a(str), is_a(float, int, type(None), minimum=0)
_CHECKS: dict[str, Check] = {
    "circuit": _is_text,
    "file": is_a(str, type(None)),
    "state": STATES.__contains__,
    "reason": _is_text,
    "method": _is_text,
    "max_error_bound": _is_number,
    "predicted_seconds": _is_number,
    "taken_seconds": _is_number,
}
"""The check of each value of an entry."""


def _is_manifest(path: Path) -> bool:
    with suppress(OSError, ValueError, RecursionError, HpcqError):
        content: Any = loads(read_sidecar(path, _MAX_BYTES).decode())
        return isinstance(content, dict) and content.get("format") == _FORMAT["format"]
    return False


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
