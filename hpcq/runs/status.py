"""How a run stands, by its output file and what it last said beside it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.files import printable, printable_path, read_sidecar, resolve_path
from hpcq.parallel.worker import here
from hpcq.results import load_progress
from hpcq.runs.checkpoint import checked_status, read_status, shared_folder
from hpcq.runs.progress import duration

_SILENT_SECONDS = 30.0
"""Without a word for so long, a run on another host is taken to be over."""


def status_of(path: Path) -> dict[str, Any]:
    """Return how the run that writes a file stands, as plain values.

    Returns:
        At least ``state``: ``RUNNING``, ``DONE``, ``STOPPED`` (saved, and goes on with the same
        command) or ``LOST`` (ended before anything was saved).

    Raises:
        InputError: If nothing is known of such a run, or the file is damaged.
    """
    path = resolve_path(path)
    told = read_status(path)
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
    members = list(members_of(shared_folder(path)))
    if members:
        status["members"] = members
        alive = [own for own in members if _is_alive(own)]
        told = max(alive or members, key=lambda own: (own.get("done", 0), own["time"]))
    if told is not None and _is_alive(told):
        return {"state": "RUNNING", **status, **told}
    if saved is not None and saved.status == "complete":
        return {"state": "DONE", **status}
    if saved is not None or any(shared_folder(path).glob("part.*")):
        return {"state": "STOPPED", **status}
    if told is not None:
        return {"state": "LOST", **status, **told}
    raise InputError(f"{printable_path(path)}: no such file, and no run says it writes it")


def members_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what jobs that share a result last said of how they stand."""
    for file in sorted(folder.glob("member.*")):
        try:
            said = json.loads(read_sidecar(file))
            standing = checked_status(said["standing"])
            left = bool(said.get("left"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        if standing is not None:
            yield {**standing, "left": left}


def status_text(status: dict[str, Any]) -> str:
    """Write a status for people."""
    now = time.time()
    lines = [f"state       {status['state']}{_MEANINGS[status['state']]}"]
    if status["state"] in ("RUNNING", "LOST"):
        job = f", SLURM job {status['slurm_job']}" if status.get("slurm_job") else ""
        lines += [
            f"{status['phase']:<11} {status['done']} of {status['total']} tasks, "
            f"{status['rate']:.3g} a second, {duration(status['seconds_left'])} left",
            f"ranks       {status['ranks']}, {100 * status['idle']:.0f}% idle, "
            f"{status['failed']} tasks failed",
            f"last word   {duration(now - status['time'])} ago from {status['host']}{job}",
        ]
    if "members" in status:
        alive = sum(_is_alive(own) for own in status["members"])
        lines.append(f"shared      by {len(status['members'])} jobs, {alive} at work now")
    if "saved" in status:
        lines.append(f"saved       {duration(now - status['saved'])} ago in {status['output']}")
        for stage in status["stages"]:
            lines.append(f"  {printable(stage['name'])}: {stage['done']} of {stage['total']} tasks")
        lines += _account(status["provenance"])
    return "\n".join(lines)


def _account(provenance: dict[str, Any]) -> list[str]:
    """Write what a run has cost; nothing if its file does not say."""
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
    "STOPPED": " (what is done is saved; the same command goes on)",
    "LOST": " (it ended before anything was saved)",
}


def _is_alive(told: dict[str, Any]) -> bool:
    """Say whether a run that told its status is still there."""
    if told.get("left"):
        return False
    if told.get("host") == here():
        try:
            os.kill(told["pid"], 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            return True
        return True
    return bool(time.time() - told["time"] < _SILENT_SECONDS)
