"""Checks of the MPI launcher before MPI starts: whether this process is the launcher's rank.

A program that an MPI rank starts inherits the variables that identify the rank. It cannot be that
rank a second time: MPICH aborts, or waits for ever, and Open MPI waits for all other ranks to start
such a program too.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path

from hpcq.core.errors import InputError
from hpcq.core.files import printable_path
from hpcq.core.system import PMIX_RANK, lacks_pmix_server, launcher_variables

_CHANNEL = "PMI_FD"
"""Variable with the file descriptor of the socket between MPICH's launcher and a rank."""

_PORT = "PMI_PORT"
"""Variable with the host and port where MPICH's launcher listens, if there is no such socket."""

_HYDRA = "HYDI_CONTROL_FD"
"""Variable that only Hydra, the launcher of MPICH, sets."""

_ABORT_DELAY_SECONDS = 3.0
"""How long the other ranks have to print why they cannot start MPI either, before all are ended."""

_MAX_ANCESTORS = 64
"""Maximum number of processes above this one that are examined; only bounds the loop."""

_LIBRARY = re.compile(rb"/libmpi(ch)?(_\w+)?[-.][^/\n]*$", re.MULTILINE)


def check_not_inherited(
    environment: Mapping[str, str] = os.environ, proc: Path = Path("/proc")
) -> None:
    """Check that the launcher's variables are meant for this process.

    Raises:
        InputError: If another process is the rank, or MPI would abort because it cannot reach the
            launcher. The message names the variables to unset.
    """
    reason = inherited(environment, proc)
    if reason:
        names = launcher_variables(environment)
        shown = f"{names[0]}={environment[names[0]]}" if names else _CHANNEL
        raise InputError(
            f"launcher: {shown} is inherited: {reason}; expected a process that the launcher "
            f"starts itself, or {_run_alone_hint(environment)}"
        )
    broken = _broken_channel(environment)
    if broken:
        raise InputError(f"launcher: {broken}; or {_run_alone_hint(environment)}")


@contextmanager
def without_stray_rank(environment: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Hide PMIx's rank from MPI during its start, if there is no PMIx server.

    MPICH would abort because of it ("launcher not compatible with PMI1 client").
    """
    stray = environment.pop(PMIX_RANK) if lacks_pmix_server(environment) else None
    try:
        yield
    finally:
        if stray is not None:
            environment[PMIX_RANK] = stray


def _run_alone_hint(environment: Mapping[str, str]) -> str:
    """Return the command that runs hpcq without the launcher's variables."""
    names = launcher_variables(environment)
    unset = " ".join(f"-u {name}" for name in names)
    return f"to run alone, none of these variables: env {unset} hpcq ..."


def _broken_channel(environment: Mapping[str, str]) -> str:
    """Return what is wrong with the connection to the launcher; "" if nothing is.

    MPICH aborts at once if it cannot reach its launcher, with several lines that do not name the
    cause.
    """
    if _CHANNEL not in environment:
        return _broken_port(environment.get(_PORT))
    channel = _channel(environment)
    expected = "expected the number of the socket that the launcher opened for this process"
    if channel is None:
        shown = printable_path(environment[_CHANNEL])[:40]
        return f"{_CHANNEL}={shown} is not a number, {expected}"
    if not stat.S_ISSOCK(os.fstat(channel).st_mode):
        return f"{_CHANNEL}={channel} is not a socket here, {expected}"
    return ""


def _channel(environment: Mapping[str, str]) -> int | None:
    """Return the file descriptor of the socket to MPICH's launcher; None if it is not a number."""
    text = environment.get(_CHANNEL, "")
    return int(text) if re.fullmatch("[0-9]{1,6}", text) else None


def _broken_port(port: str | None) -> str:
    """Return what is wrong with the address where the launcher listens; "" if nothing is."""
    if port is None:
        return ""
    host, _, number = port.rpartition(":")
    expected = "expected HOST:PORT, where the launcher listens"
    shown = f"{_PORT}={printable_path(port)[:80]}"
    if not host or not re.fullmatch("[0-9]{1,5}", number):
        return f"{shown} is not an address, {expected}"
    try:
        socket.getaddrinfo(host, int(number))
    except (OSError, UnicodeError, OverflowError):
        return f"{shown} names a host that is not known here, {expected}"
    return ""


def abort_launch(exit_code: int, environment: Mapping[str, str] = os.environ) -> None:
    """End all ranks if this one cannot start MPI and the launcher is Hydra.

    Other launchers do so by themselves; Hydra lets the others wait in MPI_Init for a process that
    has ended.
    """
    channel = _channel(environment)
    if _HYDRA in environment and channel is not None:
        time.sleep(_ABORT_DELAY_SECONDS)
        with suppress(OSError):
            os.write(channel, f"cmd=abort exitcode={exit_code}\n".encode())


def inherited(environment: Mapping[str, str] = os.environ, proc: Path = Path("/proc")) -> str:
    """Return the evidence that another process is the launcher's rank; "" if there is none."""
    for pid in _ancestors(environment, proc):
        if _has_mpi(proc / str(pid)):
            return f"process {pid}, which started this one, is the MPI rank"
    channel = _channel(environment)
    if channel is not None:
        try:
            os.fstat(channel)
        except OSError:
            return f"the launcher's file {_CHANNEL}={channel} is closed here"
    return ""


def _ancestors(environment: Mapping[str, str], proc: Path) -> Iterator[int]:
    """Yield the processes between the launcher and this one, which have the same variables."""
    variables = {name: environment[name] for name in launcher_variables(environment)}
    pid = os.getppid()
    for _ in range(_MAX_ANCESTORS if variables else 0):
        if pid <= 1 or not variables.items() <= _environment(proc / str(pid)).items():
            return
        yield pid
        try:
            pid = int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return


def _environment(process: Path) -> dict[str, str]:
    """Return the environment with which a process began; empty if it cannot be read."""
    try:
        content = (process / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition("=") for entry in content.decode(errors="replace").split("\0"))
    return {name: value for name, _, value in pairs}


def _has_mpi(process: Path) -> bool:
    """Return whether a process has loaded MPI itself, and not by a tool that is preloaded."""
    if _environment(process).get("LD_PRELOAD"):
        return False
    try:
        return _LIBRARY.search((process / "maps").read_bytes()) is not None
    except OSError:
        return False
