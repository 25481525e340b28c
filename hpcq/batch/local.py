"""Runs in the background of this machine, with the same life as jobs of SLURM."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from hpcq.command.arguments import run_variables
from hpcq.errors import InputError
from hpcq.farm.worker import here
from hpcq.machine import launcher_variables

_KEEPS_THE_CODE = """trap : TERM INT USR1 HUP
code=0
"$@" || code=$?
echo "$code" > "$0"
"""
"""A shell that outlives the signals to its run, and writes down how that ended."""


def command_of(words: Sequence[str], ranks: int) -> list[str]:
    """Return the command of a run.

    Args:
        words: The words after ``hpcq run``.
        ranks: How many ranks; more than one take ``mpirun``.

    Raises:
        InputError: If there is no ``mpirun``.
    """
    launcher: list[str] = []
    if ranks > 1:
        beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        found = shutil.which("mpirun", path=beside)
        if found is None:
            raise InputError(f"ranks: {ranks} on this machine take mpirun, which is not there")
        launcher = [found, "-n", str(ranks)]
    return [*launcher, sys.executable, "-m", "hpcq", "run", *words]


def start(command: Sequence[str], log: Path, output: Path) -> tuple[str, str]:
    """Start a run in a session of its own.

    Args:
        command: The command.
        log: Where it writes what it says; ``%j`` becomes the job's name.
        output: Its output.

    Returns:
        The job's name, and when the process was born.
    """
    code_file(output).unlink(missing_ok=True)
    aside = log.with_name(f".{uuid.uuid4().hex}.log")
    with aside.open("ab") as said:
        process = subprocess.Popen(
            ["sh", "-c", _KEEPS_THE_CODE, str(code_file(output)), *command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
            env=_environment(),
        )
    name = f"local-{process.pid}"
    aside.replace(log.with_name(log.name.replace("%j", name)))
    return name, born(process.pid)


def _environment() -> dict[str, str]:
    """Return the environment without what is in the words already, or makes a process a rank."""
    said = {*run_variables(), *launcher_variables()}
    kept = {name: value for name, value in os.environ.items() if name not in said}
    return {**kept, "HPCQ_SITE": "none"}


def code_file(output: Path) -> Path:
    """Return the file that says how the last run in the background ended."""
    return output.with_name(f".{output.name}.code")


def exit_code(output: Path) -> int | None:
    """Return how the last run in the background ended; None if nothing says so."""
    try:
        return int(code_file(output).read_text())
    except (OSError, ValueError):
        return None


def born(pid: int) -> str:
    """Return when a process was born, as the system counts; empty if there is none."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]


def lives(job: str, since: str, host: str) -> bool:
    """Say whether a run is still there.

    Raises:
        InputError: If it is on another machine.
    """
    if host != here():
        raise InputError(f"job: {job} is a process on {host}, expected to be asked there")
    return bool(since) and born(_pid(job)) == since


def stop(job: str) -> None:
    """Ask a run, and all ranks of it, to save and end."""
    try:
        os.killpg(_pid(job), signal.SIGTERM)
    except ProcessLookupError:
        return


def _pid(job: str) -> int:
    return int(job.removeprefix("local-"))
