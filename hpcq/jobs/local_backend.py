"""Runs in the background of this machine, with the same life as jobs of SLURM."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import create_sidecar, printable, printable_path, read_sidecar
from hpcq.core.system import launcher_variables
from hpcq.jobs.submissions import FIRST_PID, Submission
from hpcq.parallel.worker import here

_KEEPS_THE_CODE = """exec 3>&0 < /dev/null
trap : TERM INT USR1 HUP
code=0
"$@" 3>&- || code=$?
echo "$code" >&3
"""
"""A shell that outlives the signals to its run, and writes down how that ended.

It gets the file for that open, as its standard input: under the file's name there may be something
else by then.
"""

_APPENDS = os.O_WRONLY | os.O_APPEND


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


def start(
    command: Sequence[str], log: Path, output: Path, settings: Container[str] = ()
) -> tuple[str, str]:
    """Start a run in a session of its own.

    Args:
        command: The command.
        log: Where it writes what it says; ``%j`` becomes the job's name.
        output: Its output.
        settings: Names of environment variables that it must not see.

    Returns:
        The job's name, and when the process was born.
    """
    aside = log.with_name(f".{uuid.uuid4().hex}.log")
    with (
        _fresh(code_file(output)) as code,
        os.fdopen(create_sidecar(aside, _APPENDS), "ab") as said,
    ):
        process = subprocess.Popen(
            [*_shell(output), *command],
            stdin=code,
            stdout=said,
            stderr=said,
            start_new_session=True,
            env=_environment(settings),
        )
    name = f"local-{process.pid}"
    try:
        aside.replace(log.with_name(log.name.replace("%j", name)))
    except OSError as error:
        os.killpg(process.pid, signal.SIGKILL)
        aside.unlink(missing_ok=True)
        place = printable_path(error.filename2 or aside)
        raise HpcqError(f"log: {place}: {error.strerror}; {name} was ended again") from None
    return name, born(process.pid)


def _shell(output: Path) -> list[str]:
    """Return the shell and its script, with which the command of every run begins."""
    return ["sh", "-c", _KEEPS_THE_CODE, str(code_file(output))]


def _fresh(place: Path) -> BinaryIO:
    """Open a new file in place of an old one.

    Raises:
        HpcqError: If it cannot be written.
    """
    try:
        with suppress(FileNotFoundError):
            place.unlink()
        return os.fdopen(create_sidecar(place), "wb")
    except OSError as error:
        raise HpcqError(
            f"output: cannot write {printable_path(place)!r}: {error.strerror}"
        ) from None


def _environment(settings: Container[str]) -> dict[str, str]:
    """Return the environment without settings of the command line and variables of a launcher.

    The command has the settings as flags, and with a launcher's variables it would take itself
    for an MPI rank.
    """
    launched = launcher_variables()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in settings and name not in launched
    }
    return {**kept, "HPCQ_SITE": "none"}


def code_file(output: Path) -> Path:
    """Return the file that says how the last run in the background ended."""
    return output.with_name(f".{output.name}.code")


def exit_code(output: Path) -> int | None:
    """Return how the last run in the background ended; None if nothing says so."""
    try:
        return int(read_sidecar(code_file(output)))
    except (OSError, ValueError):
        return None


def born(pid: int) -> str:
    """Return when a process was born, as the system counts; empty if there is none."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]


def lives(record: Submission) -> bool:
    """Say whether a run is still there: the process that was recorded, and not its successor.

    Raises:
        InputError: If it is on another machine.
    """
    if record.host != here():
        raise InputError(
            f"job: {record.job} is a process on {printable(record.host[:80])!r}, expected to be "
            "asked there"
        )
    pid = _pid(record.job)
    if pid < FIRST_PID or not record.born or born(pid) != record.born:
        return False
    try:
        command = [*_shell(Path(record.output)), *shlex.split(record.script)]
        said = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
    return said == b"".join(os.fsencode(word) + b"\0" for word in command)


def stop(record: Submission) -> None:
    """Ask a run that lives, and all ranks of it, to save and end.

    Raises:
        InputError: If it is another user's.
    """
    pid = _pid(record.job)
    try:
        if Path(f"/proc/{pid}").stat().st_uid != os.geteuid() or os.getpgid(pid) != pid:
            raise PermissionError
        os.killpg(pid, signal.SIGTERM)
    except (ProcessLookupError, FileNotFoundError):
        return
    except PermissionError:
        raise InputError(
            f"job: {record.job} is another user's process, expected a job of your own"
        ) from None


def _pid(job: str) -> int:
    return int(job.removeprefix("local-"))
