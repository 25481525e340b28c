"""The speeds of this machine, which are the constants of the cost model, and their file.

``hpcq doctor --calibrate`` measures them (:mod:`hpcq.doctor.calibration`). Machines of many kinds
may share a home folder, so the file stores one set of speeds for each processor, and a set is used
only on its processor. Without a measurement, the usual speeds of a current machine are used.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.files import open_regular, printable_path, write_atomic
from hpcq.core.limits import Limits
from hpcq.core.version import versions

VARIABLE = "HPCQ_CALIBRATION"
"""Environment variable: the path of another file, or ``none`` for the usual speeds."""

_FORMAT = "hpcq-calibration"
_FORMAT_VERSION = 1
"""Version of the file's format; a file of another version is not read."""

_MAX_FILE_BYTES = 1 << 20
"""Maximum size of the file in bytes, far above that of the maximum number of sets."""

_MAX_MACHINES = 200
"""Maximum number of sets in the file; the oldest is dropped for a new one."""

_CREDIBLE_FACTOR = 1000.0
"""Factor from the usual speed, up or down, within which a measured speed is credible."""

_CPUINFO = Path("/proc/cpuinfo")
_CPU_LINES = ("vendor_id", "model name", "cpu family", "model", "stepping", "CPU part", "Processor")


@dataclass(frozen=True)
class Speeds:
    """Seconds that the pieces of a run take; the defaults are usual for one thread.

    Attributes:
        run: Setting up a run and its result.
        simulation: Setting up one simulation.
        gate: Building one gate and passing it to Aer.
        amplitude_gate: One gate on one amplitude, where Aer fuses no gates.
        amplitude_pass: One fused gate on one amplitude, on all threads.
        byte: Allocating and filling one byte of memory.
        string: One small matrix product, such as that of a Pauli string.
        amplitude_string: One Pauli string on one amplitude, without the arithmetic.
        flop: One floating-point operation of a matrix product, on one thread.
        step: One step of the contraction, without its products.
        term: One term of an observable.
        threads: Not seconds, but the speedup of matrix products on all threads over one.
        calibrated: Whether these speeds were measured on this machine.
    """

    run: float = 2.0e-3
    simulation: float = 2.5e-4
    gate: float = 1.4e-5
    amplitude_gate: float = 2.0e-9
    amplitude_pass: float = 6.0e-9
    byte: float = 3.0e-10
    string: float = 1.2e-5
    amplitude_string: float = 2.5e-9
    flop: float = 2.5e-11
    step: float = 7.0e-5
    term: float = 3.0e-6
    threads: float = 1.0
    calibrated: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in _ranges().items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{name}: {str(value)[:40]!r}, expected a number of seconds")
            if not low <= value <= high:
                raise ValueError(f"{name}: {value!r}, expected {low:g} to {high:g}")

    @classmethod
    def usual(cls, threads: int) -> Speeds:
        """Return the usual speeds with this many threads, for a machine that is not calibrated."""
        return _usual_speeds(threads)

    @classmethod
    def clipped(cls, measured: Mapping[str, float]) -> Speeds:
        """Return measured speeds, each clipped to the credible range in case noise hid it."""
        values = {}
        for name, value in measured.items():
            low, high = _ranges()[name]
            values[name] = min(max(value, low), high)
        return cls(**values, calibrated=True)


@cache
def _usual_speeds(threads: int) -> Speeds:
    return Speeds(amplitude_pass=Speeds.amplitude_pass / threads, threads=float(threads))


@cache
def _ranges() -> Mapping[str, tuple[float, float]]:
    """Return the credible range of each speed."""
    ranges = {
        field.name: (field.default / _CREDIBLE_FACTOR, field.default * _CREDIBLE_FACTOR)
        for field in fields(Speeds)
        if isinstance(field.default, float)
    }
    return MappingProxyType({**ranges, "threads": (1.0, 1e4)})


def read_speeds(limits: Limits) -> Speeds:
    """Return the speeds measured on this machine for these limits, or the usual ones."""
    return look_up(limits)[0]


def look_up(limits: Limits) -> tuple[Speeds, str]:
    """Return the speeds for these limits, and a description of where they come from.

    A file that is damaged or cannot be read is not an error: the description says so.
    """
    usual = Speeds.usual(limits.threads)
    try:
        path = calibration_file()
        if path is None:
            return usual, f"usual speeds, because {VARIABLE} is none"
        if not path.exists():
            return usual, "usual speeds: not calibrated"
        entry = _read(path).get(_key(limits))
        if entry is None:
            return usual, "usual speeds: not calibrated for this processor and Aer"
        return Speeds(**entry, calibrated=True), f"calibrated, from {printable_path(path)}"
    except (InputError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        return usual, f"usual speeds, because the calibration is not readable: {reason}"


def write_speeds(limits: Limits, speeds: Speeds) -> Path:
    """Store measured speeds for these limits, next to those of other machines.

    Returns:
        The path of the file.

    Raises:
        InputError: If the file cannot be written, or ``HPCQ_CALIBRATION`` is ``none``.
    """
    path = calibration_file()
    if path is None:
        raise InputError(f"{VARIABLE}: 'none', expected a file name, or the variable unset")
    entry = asdict(speeds)
    del entry["calibrated"]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        machines = _read(path) if os.path.lexists(path) else {}
    except (InputError, ValueError, RecursionError):
        if not _was_calibration(path):
            raise InputError(
                f"{printable_path(path)}: exists and is not a calibration; it is left as it is"
            ) from None
        machines = {}  # a damaged calibration is replaced
    except OSError as error:
        raise InputError(f"calibration: cannot write {path.parent}: {error.strerror}") from None
    machines.pop(_key(limits), None)
    kept = dict(list(machines.items())[1 - _MAX_MACHINES :]) | {_key(limits): entry}
    content = {"format": _FORMAT, "format_version": _FORMAT_VERSION, "machines": kept}
    write_atomic(path, f"{json.dumps(content, indent=1)}\n".encode(), "calibration")
    return path


def calibration_file() -> Path | None:
    """Return the path of the calibration file; None if ``HPCQ_CALIBRATION`` is ``none``.

    Raises:
        InputError: If there is no home folder for it.
    """
    setting = os.environ.get(VARIABLE, "")
    if setting == "none":
        return None
    if setting:
        return Path(setting)
    cache = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        raise InputError(f"HOME: no home folder is known, expected one, or {VARIABLE}") from None
    return folder / "hpcq" / "calibration.json"


def processor() -> str:
    """Return a name of this machine's processor that distinguishes it from other models."""
    try:
        with _CPUINFO.open("rb") as file:
            first = file.read(4096).decode(errors="replace").split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    entries = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    lines = {name.strip(): " ".join(value.split()) for name, value in entries.items()}
    return " ".join([platform.machine(), *(lines[name] for name in _CPU_LINES if name in lines)])


def _key(limits: Limits) -> str:
    installed = versions(("qiskit-aer", "qiskit-aer-gpu"))
    aer = installed.get("qiskit-aer") or installed.get("qiskit-aer-gpu", "none")
    return f"{processor()}; {limits.threads} threads; {limits.precision}; Aer {aer}"


def _was_calibration(path: Path) -> bool:
    """Return whether an unreadable file was a calibration: it is empty, or names the format."""
    try:
        if path.is_file() and path.stat().st_size == 0:
            return True
        with os.fdopen(open_regular(path, 1 << 62, "a calibration"), "rb") as file:
            return _FORMAT.encode() in file.read(4096)
    except (InputError, OSError):
        return False


def _read(path: Path) -> dict[str, Any]:
    """Return the sets of speeds in a file, by machine, or raise InputError or ValueError."""
    with os.fdopen(open_regular(path, _MAX_FILE_BYTES, "a calibration"), "rb") as file:
        content = json.loads(file.read())
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{printable_path(path)}: not a calibration")
    if content.get("format_version") != _FORMAT_VERSION:
        raise InputError(f"{printable_path(path)}: expected format_version {_FORMAT_VERSION}")
    machines = content.get("machines")
    if not isinstance(machines, dict) or not all(isinstance(x, dict) for x in machines.values()):
        raise InputError(f"{printable_path(path)}: expected an object for each machine")
    return machines
