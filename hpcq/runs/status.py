"""The status of a run, from its output file and the status file beside it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.files import printable, printable_path, read_sidecar, resolve_path
from hpcq.parallel.worker import hostname
from hpcq.results import load_progress
from hpcq.runs.checkpoint import check_status, read_status, shared_folder
from hpcq.runs.progress import format_duration

_SILENT_SECONDS = 30.0
"""A run on another host whose status is older than this is taken to have ended.

A run writes its status every ``STATUS_SECONDS``; larger: an ended run is noticed later, smaller: a
slow file system makes a run look ended.
"""


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
            status = check_status(content["standing"])
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
    if status.get("host") == hostname():
        try:
            os.kill(status["pid"], 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            return True
        return True
    return bool(time.time() - status["time"] < _SILENT_SECONDS)
