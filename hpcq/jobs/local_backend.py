"""Runs in the background of this machine, which can be handled as SLURM jobs are."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Container, Sequence
from pathlib import Path
from typing import BinaryIO

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import create_sidecar, printable, printable_path, read_sidecar
from hpcq.core.system import environment_without_launcher
from hpcq.jobs.submissions import FIRST_PID, Submission

_WRAPPER = """exec 3>&0 < /dev/null
trap : TERM INT USR1 HUP
code=0
"$@" 3>&- || code=$?
echo "$code" >&3
"""
"""A shell script that survives the signals to its run, and writes the run's exit code to a file.
The file is passed open as standard input: its name may lead to another file when the run ends."""

_APPEND = os.O_WRONLY | os.O_APPEND


def command_of(arguments: Sequence[str], ranks: int) -> list[str]:
    """Return the command that starts ``hpcq`` on ranks; several are launched by ``mpirun``.

    Raises:
        InputError: If ``mpirun`` is needed and not found.
    """
    launcher: list[str] = []
    if ranks > 1:
        folders = str(Path(sys.executable).parent), os.environ.get("PATH", "")
        mpirun = shutil.which("mpirun", path=os.pathsep.join(folders))
        if mpirun is None:
            raise InputError(f"ranks: {ranks}, expected mpirun on the PATH to start them")
        launcher = [mpirun, "-n", str(ranks)]
    return [*launcher, sys.executable, "-m", "hpcq", *arguments]


def start(
    command: Sequence[str], log: Path, output: Path, settings: Container[str] = ()
) -> tuple[str, str]:
    """Start a run in a new session, so that it survives the caller.

    ``%j`` in the log's name becomes the job's name. The environment variables that ``settings``
    names are hidden from the run.

    Returns:
        The job's name, and the start time of its process.
    """
    temporary = log.with_name(f".{uuid.uuid4().hex}.log")
    with (
        _create_anew(code_file(output)) as code,
        os.fdopen(create_sidecar(temporary, _APPEND), "ab") as log_file,
    ):
        process = subprocess.Popen(
            [*_wrapper_command(output), *command],
            stdin=code,
            stdout=log_file,
            stderr=log_file,
            start_new_session=True,
            env=_environment(settings),
        )
    name = f"local-{process.pid}"
    try:
        temporary.replace(log.with_name(log.name.replace("%j", name)))
    except OSError as error:
        os.killpg(process.pid, signal.SIGKILL)
        temporary.unlink(missing_ok=True)
        path = printable_path(error.filename2 or temporary)
        raise HpcqError(f"log: {path}: {error.strerror}; {name} was ended again") from None
    return name, process_start_time(process.pid)


def _wrapper_command(output: Path) -> list[str]:
    """Return the shell and script that wrap the command of every run."""
    return ["sh", "-c", _WRAPPER, str(code_file(output))]


def _create_anew(path: Path) -> BinaryIO:
    """Open a new file for writing, in place of an old one."""
    try:
        path.unlink(missing_ok=True)
        return os.fdopen(create_sidecar(path), "wb")
    except OSError as error:
        name = printable_path(path)
        raise HpcqError(f"output: cannot write {name!r}: {error.strerror}") from None


def _environment(settings: Container[str]) -> dict[str, str]:
    """Return the environment without settings of hpcq, which are flags of the command already."""
    environment = environment_without_launcher()
    kept = {name: value for name, value in environment.items() if name not in settings}
    return {**kept, "HPCQ_SITE": "none"}


def code_file(output: Path) -> Path:
    """Return the file with the exit code of an output's last run in the background."""
    return output.with_name(f".{output.name}.code")


def exit_code(output: Path) -> int | None:
    """Return the exit code of an output's last run in the background; None if it is unknown."""
    try:
        return int(read_sidecar(code_file(output)))
    except (OSError, ValueError):
        return None


def process_start_time(pid: int) -> str:
    """Return a process's start time in clock ticks since boot; empty if there is no process."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]


def is_alive(record: Submission) -> bool:
    """Whether a run's process still exists, as opposed to a later one with the same number.

    Raises:
        InputError: If the run is on another machine.
    """
    if record.host != socket.gethostname():
        raise InputError(
            f"job: {record.job} is a process on {printable(record.host[:80])!r}, expected this "
            "command on that host"
        )
    pid = _pid(record.job)
    if pid < FIRST_PID or not record.born or process_start_time(pid) != record.born:
        return False
    try:
        command = [*_wrapper_command(Path(record.output)), *shlex.split(record.script)]
        cmdline = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
    return cmdline == b"".join(os.fsencode(word) + b"\0" for word in command)


def stop(record: Submission) -> None:
    """Send SIGTERM to a run and all its ranks, so that they save and end.

    Raises:
        InputError: If the process is another user's.
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
            f"job: {record.job} is another user's process, expected one of your jobs"
        ) from None


def _pid(job: str) -> int:
    return int(job.removeprefix("local-"))
