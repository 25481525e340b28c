"""How fast this machine is: the constants of the cost model, and the file that keeps them.

``hpcq doctor --calibrate`` measures them (:mod:`hpcq.doctor.calibration`). A home folder is shared
by machines of many kinds, so the file names the processor that each set was measured on, and a set
counts only there. Without one, the usual speeds of a current machine stand in.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.files import open_regular, printable_path, write_atomic
from hpcq.core.limits import Limits

VARIABLE = "HPCQ_CALIBRATION"
"""Environment variable: another file, or ``none`` to do without."""

_FORMAT = "hpcq-calibration"
_FORMAT_VERSION = 1
_MAX_FILE_BYTES = 1 << 20
_MAX_SETS = 200
_RANGE = 1000.0
_CPUINFO = Path("/proc/cpuinfo")
_CPU_LINES = ("vendor_id", "model name", "cpu family", "model", "stepping", "CPU part", "Processor")


@dataclass(frozen=True)
class Speeds:
    """Seconds that the pieces of a run take; the defaults are usual for one thread.

    Attributes:
        run: Setting up a run and its result.
        simulation: Setting up one simulation.
        gate: Building one gate and handing it to Aer.
        amplitude_gate: One gate on one amplitude, while Aer fuses none.
        amplitude_pass: One fused gate on one amplitude, on all threads.
        byte: One byte of new memory, filled.
        string: One small matrix product, such as that of a Pauli string.
        amplitude_string: One Pauli string on one amplitude, beside the arithmetic.
        flop: One floating-point operation of a matrix product, on one thread.
        step: One step of the contraction, beside its products.
        term: One term of an observable.
        threads: How many times faster all threads multiply matrices than one does.
        calibrated: Whether these were measured on this machine.
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
        """Return what a machine that was never measured probably does with so many threads."""
        return replace(cls(), amplitude_pass=cls.amplitude_pass / threads, threads=float(threads))

    @classmethod
    def clipped(cls, measured: Mapping[str, float]) -> Speeds:
        """Return measured speeds; one that drowned in noise becomes the nearest credible one."""
        ranges = _ranges()
        values = {n: min(max(v, ranges[n][0]), ranges[n][1]) for n, v in measured.items()}
        return cls(**values, calibrated=True)


def _ranges() -> dict[str, tuple[float, float]]:
    """What each constant may be."""
    ranges = {
        f.name: (f.default / _RANGE, f.default * _RANGE)
        for f in fields(Speeds)
        if isinstance(f.default, float)
    }
    return {**ranges, "threads": (1.0, 1e4)}


def read_speeds(limits: Limits) -> Speeds:
    """Return the speeds that were measured for such limits on this machine, or usual ones."""
    return look_up(limits)[0]


def look_up(limits: Limits) -> tuple[Speeds, str]:
    """Return the speeds, and in words where they come from.

    Nothing that the file holds, or any trouble with it, is an error.
    """
    usual = Speeds.usual(limits.threads)
    try:
        place = calibration_file()
        if place is None:
            return usual, f"usual speeds, because {VARIABLE} is none"
        if not place.exists():
            return usual, "usual speeds: not calibrated"
        entry = _read(place).get(_key(limits))
        if entry is None:
            return usual, "usual speeds: not calibrated for this processor and Aer"
        return Speeds(**entry, calibrated=True), f"calibrated, from {printable_path(place)}"
    except (InputError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        return usual, f"usual speeds, because the calibration is not readable: {reason}"


def write_speeds(limits: Limits, speeds: Speeds) -> Path:
    """Keep measured speeds for such limits, beside those of other machines.

    Returns:
        The file.

    Raises:
        InputError: If it cannot be written, or ``HPCQ_CALIBRATION`` is none.
    """
    place = calibration_file()
    if place is None:
        raise InputError(f"{VARIABLE} is none, expected a file's name, or no such variable")
    entry = asdict(speeds)
    del entry["calibrated"]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        known = _read(place) if os.path.lexists(place) else {}
    except (InputError, ValueError, RecursionError):
        if not _was_ours(place):
            raise InputError(
                f"{printable_path(place)}: it is there and is no calibration; it is left as it is"
            ) from None
        known = {}  # damaged: start afresh
    except OSError as error:
        raise InputError(f"calibration: cannot write {place.parent}: {error.strerror}") from None
    known.pop(_key(limits), None)
    kept = dict(list(known.items())[1 - _MAX_SETS :]) | {_key(limits): entry}
    content = {"format": _FORMAT, "format_version": _FORMAT_VERSION, "machines": kept}
    write_atomic(place, f"{json.dumps(content, indent=1)}\n".encode(), "calibration")
    return place


def calibration_file() -> Path | None:
    """Return the file that keeps the speeds; None where the environment wants none.

    Raises:
        InputError: If there is no home folder to keep it in.
    """
    named = os.environ.get(VARIABLE, "")
    if named == "none":
        return None
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        raise InputError(f"no home folder is known, expected one, or {VARIABLE}") from None
    return folder / "hpcq" / "calibration.json"


def processor() -> str:
    """Name this machine's processor, well enough to tell it from others."""
    try:
        with _CPUINFO.open("rb") as file:
            first = file.read(4096).decode(errors="replace").split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    found = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    lines = {name.strip(): " ".join(value.split()) for name, value in found.items()}
    named = [lines[name] for name in _CPU_LINES if name in lines]
    return " ".join([platform.machine(), *named])


def _key(limits: Limits) -> str:
    return f"{processor()}; {limits.threads} threads; {limits.precision}; Aer {_aer_version()}"


def _aer_version() -> str:
    """Version of the installed Aer, without loading it."""
    from importlib.metadata import PackageNotFoundError, version

    for package in ("qiskit-aer", "qiskit-aer-gpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "none"


def _was_ours(place: Path) -> bool:
    """Say whether a file that is no good was a calibration once: it is empty, or says so."""
    try:
        if place.is_file() and place.stat().st_size == 0:
            return True
        with os.fdopen(open_regular(place, 1 << 62, "a calibration"), "rb") as file:
            return _FORMAT.encode() in file.read(4096)
    except (InputError, OSError):
        return False


def _read(place: Path) -> dict[str, Any]:
    """Return the sets of a file by machine.

    Raises:
        InputError: If it is no such file.
        ValueError: If it is no JSON.
    """
    with os.fdopen(open_regular(place, _MAX_FILE_BYTES, "a calibration"), "rb") as file:
        content = json.loads(file.read())
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{printable_path(place)}: is no calibration")
    if content.get("format_version") != _FORMAT_VERSION:
        raise InputError(f"{printable_path(place)}: expected format_version {_FORMAT_VERSION}")
    machines = content.get("machines")
    if not isinstance(machines, dict) or not all(isinstance(x, dict) for x in machines.values()):
        raise InputError(f"{printable_path(place)}: expected an object for each machine")
    return machines
