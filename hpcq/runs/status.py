"""The status of a run: written to a file beside the output, and read from both."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.files import printable, printable_path, read_sidecar, resolve_path, write_sidecar
from hpcq.core.system import launched_size
from hpcq.results import load_progress
from hpcq.runs.progress import format_duration

STATUS_SECONDS = 2.0
"""Pause between writes of the status file; shorter: more load on the file system."""

_SILENT_SECONDS = 30.0
"""A run on another host whose status is older than this is taken to have ended.

A run writes its status every ``STATUS_SECONDS``; larger: an ended run is noticed later, smaller: a
slow file system makes a run look ended.
"""

_NUMBER = (int, float)
_STATUS_TYPES: dict[str, Any] = {
    **{"phase": str, "done": int, "total": int, "rate": _NUMBER, "seconds_left": _NUMBER},
    **{"ranks": int, "idle": _NUMBER, "failed": int, "time": float, "host": str, "pid": int},
}
"""Keys of every status, and the types of their values."""

_MAX_TEXT, _MAX_NUMBER = 200, 10**15
"""Longest text and largest integer that are accepted from a status, which anybody may write."""


def status_file(path: Path) -> Path:
    """Return the status file beside an output."""
    return path.with_name(f".{path.name}.status")


def shared_folder(path: Path) -> Path:
    """Return the folder beside an output in which jobs that share it keep their results."""
    return path.with_name(f"{path.name}.parts")


def write_status(path: Path, status: Mapping[str, Any]) -> None:
    """Write a status, with its origin, to the file beside an output; errors are ignored."""
    with suppress(OSError):
        write_sidecar(status_file(path), json.dumps({**status, **status_origin()}).encode())


def status_origin() -> dict[str, Any]:
    """Return the time and the process that a status comes from."""
    return {
        "time": time.time(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "ranks_started": launched_size(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def read_status(path: Path) -> dict[str, Any] | None:
    """Return the status of the run that writes an output; None if there is no valid one."""
    try:
        return _check_status(json.loads(read_sidecar(status_file(path))))
    except (OSError, ValueError, RecursionError):
        return None


def _check_status(content: object) -> dict[str, Any] | None:
    """Return the content of a status file, which anybody may write; None if it is not a status.

    Values of other types than text and number are left out, long texts are cut off, and characters
    that a terminal would act on are replaced.
    """
    if not isinstance(content, dict):
        return None
    plain: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, str):
            plain[printable(name)] = printable(value[:_MAX_TEXT])
        elif value is None or isinstance(value, float) or _is_number(value):
            plain[printable(name)] = value
    is_valid = all(isinstance(plain.get(name), kind) for name, kind in _STATUS_TYPES.items())
    return plain if is_valid and plain["pid"] > 0 else None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and abs(value) < _MAX_NUMBER


def read_run_status(path: Path) -> dict[str, Any]:
    """Return the status of the run that writes an output file, as JSON values.

    Returns:
        At least ``state``: ``RUNNING``, ``DONE``, ``STOPPED`` (saved; the same command resumes it)
        or ``LOST`` (ended before anything was saved).

    Raises:
        InputError: If there is neither a file nor a status, or the file is damaged.
    """
    path = resolve_path(path)
    latest = read_status(path)
    status: dict[str, Any] = {"output": printable_path(path)}
    try:
        path.exists()
    except OSError as error:
        raise InputError(f"{printable_path(path)}: {error.strerror}") from None
    saved = None
    if path.exists():
        saved, stages = load_progress(path)
        status |= {"saved": path.stat().st_mtime, "provenance": dict(saved.provenance)}
        status |= {"stages": stages}
    members = list(read_members(shared_folder(path)))
    if members:
        status["members"] = members
        alive = [member for member in members if _is_alive(member)]
        latest = max(alive or members, key=lambda member: (member.get("done", 0), member["time"]))
    if latest is not None and _is_alive(latest):
        return {"state": "RUNNING", **status, **latest}
    if saved is not None and saved.status == "complete":
        return {"state": "DONE", **status}
    if saved is not None or any(shared_folder(path).glob("part.*")):
        return {"state": "STOPPED", **status}
    if latest is not None:
        return {"state": "LOST", **status, **latest}
    raise InputError(f"{printable_path(path)}: no such file, and no run is writing it")


def read_members(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the last status of every job that shares a result; ``left`` if the job has left."""
    for file in sorted(folder.glob("member.*")):
        try:
            content = json.loads(read_sidecar(file))
            status = _check_status(content["standing"])
            has_left = bool(content.get("left"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        if status is not None:
            yield {**status, "left": has_left}


def status_text(status: dict[str, Any]) -> str:
    """Return a status as lines of text."""
    now = time.time()
    lines = [f"state       {status['state']}{_MEANINGS[status['state']]}"]
    if status["state"] in ("RUNNING", "LOST"):
        job = f", SLURM job {status['slurm_job']}" if status.get("slurm_job") else ""
        lines += [
            f"{status['phase']:<11} {status['done']} of {status['total']} tasks, "
            f"{status['rate']:.3g} a second, {format_duration(status['seconds_left'])} left",
            f"ranks       {status['ranks']}, {100 * status['idle']:.0f}% idle, "
            f"{status['failed']} tasks failed",
            f"last word   {format_duration(now - status['time'])} ago from {status['host']}{job}",
        ]
    if "members" in status:
        alive = sum(map(_is_alive, status["members"]))
        lines.append(f"shared      by {len(status['members'])} jobs, {alive} at work now")
    if "saved" in status:
        lines.append(
            f"saved       {format_duration(now - status['saved'])} ago in {status['output']}"
        )
        for stage in status["stages"]:
            lines.append(f"  {printable(stage['name'])}: {stage['done']} of {stage['total']} tasks")
        lines += _cost_lines(status["provenance"])
    return "\n".join(lines)


def _cost_lines(provenance: dict[str, Any]) -> list[str]:
    """Return the cost of a run as a line of text; none if its file does not contain it."""
    try:
        starts, account = len(provenance["starts"]), provenance["account"]
        core, busy, idle = (float(account[f"{name}_seconds"]) for name in ("core", "busy", "idle"))
    except (KeyError, TypeError, ValueError):
        return []
    return [
        f"account     {starts} start{'s' * (starts > 1)}, {core:.4g} core-seconds, {busy:.4g} "
        f"rank-seconds busy, {idle:.4g} idle"
    ]


_MEANINGS = {
    "RUNNING": "",
    "DONE": "",
    "STOPPED": " (finished work is saved; the same command resumes it)",
    "LOST": " (it ended before anything was saved)",
}


def _is_alive(status: dict[str, Any]) -> bool:
    """Say whether the run that wrote a status still runs; on another host, by the status's age."""
    if status.get("left"):
        return False
    if status.get("host") == socket.gethostname():
        try:
            os.kill(status["pid"], 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            return True
        return True
    return bool(time.time() - status["time"] < _SILENT_SECONDS)
