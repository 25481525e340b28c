"""What a process knows of its MPI launcher before MPI starts: is it a rank, and can it give up.

A program that an MPI rank starts inherits the variables that make the rank one. It cannot be that
rank a second time: MPICH aborts, or waits for ever, and Open MPI waits for all other ranks to
start such a program too.
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
"""Variable that names the open file by which MPICH's launcher talks to a rank."""

_PORT = "PMI_PORT"
"""Variable that names the host and port where MPICH's launcher listens, if it is no open file."""

_HYDRA = "HYDI_CONTROL_FD"
"""Variable by which Hydra, MPICH's own launcher, is known."""

_LAST_WORDS_SECONDS = 3.0
"""How long other ranks that cannot start MPI either have to say why; they came up together."""

_MAX_ANCESTORS = 64
_LIBRARY = re.compile(rb"/libmpi(ch)?(_\w+)?[-.][^/\n]*$", re.MULTILINE)


def check_not_inherited(
    environment: Mapping[str, str] = os.environ, proc: Path = Path("/proc")
) -> None:
    """Make sure that the launcher's variables are this process's own.

    Raises:
        InputError: If another process is the rank, or MPI would abort because it cannot reach
            the launcher; with the variables to unset.
    """
    why = inherited(environment, proc)
    if why:
        names = launcher_variables(environment)
        shown = f"{names[0]}={environment[names[0]]}" if names else _CHANNEL
        raise InputError(
            f"launcher: {shown} is inherited: {why}; expected a process that the launcher starts "
            f"itself, or {_cure(environment)}"
        )
    broken = _broken_channel(environment)
    if broken:
        raise InputError(f"launcher: {broken}; or {_cure(environment)}")


@contextmanager
def without_stray_rank(environment: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Hide PMIx's rank from MPI while it starts, where there is no server that it is of.

    MPICH aborts for it ("launcher not compatible with PMI1 client").
    """
    stray = environment.pop(PMIX_RANK) if lacks_pmix_server(environment) else None
    try:
        yield
    finally:
        if stray is not None:
            environment[PMIX_RANK] = stray


def _cure(environment: Mapping[str, str]) -> str:
    """Say how the process would run alone."""
    names = launcher_variables(environment)
    unset = " ".join(f"-u {name}" for name in names)
    return f"to run alone, none of these variables: env {unset} hpcq ..."


def _broken_channel(environment: Mapping[str, str]) -> str:
    """Say what is wrong with the way to the launcher, and what was expected; empty if nothing is.

    MPICH aborts at once where it cannot reach its launcher, in several lines that don't say why.
    """
    if _CHANNEL not in environment:
        return _broken_port(environment.get(_PORT))
    channel = _channel(environment)
    expected = "expected the number of the socket that the launcher opened for this process"
    if channel is None:
        return f"{_CHANNEL}={printable_path(environment[_CHANNEL])[:40]} is no number, {expected}"
    if not stat.S_ISSOCK(os.fstat(channel).st_mode):
        return f"{_CHANNEL}={channel} is no socket here, {expected}"
    return ""


def _channel(environment: Mapping[str, str]) -> int | None:
    """Return the descriptor of the way to MPICH's launcher; None where no number names it."""
    text = environment.get(_CHANNEL, "")
    return int(text) if re.fullmatch("[0-9]{1,6}", text) else None


def _broken_port(port: str | None) -> str:
    """Say what is wrong with the address where the launcher listens; empty if nothing is."""
    if port is None:
        return ""
    host, _, number = port.rpartition(":")
    expected = "expected HOST:PORT, where the launcher listens"
    shown = f"{_PORT}={printable_path(port)[:80]}"
    if not host or not re.fullmatch("[0-9]{1,5}", number):
        return f"{shown} is no address, {expected}"
    try:
        socket.getaddrinfo(host, int(number))
    except (OSError, UnicodeError, OverflowError):
        return f"{shown} names a host that is not known here, {expected}"
    return ""


def give_up(exit_code: int, environment: Mapping[str, str] = os.environ) -> None:
    """End all ranks where this one cannot start MPI, and the launcher would let them wait for it.

    Hydra does not mind a process that ends without having started MPI; other launchers do.
    """
    channel = _channel(environment)
    if _HYDRA in environment and channel is not None:
        time.sleep(_LAST_WORDS_SECONDS)
        with suppress(OSError):
            os.write(channel, f"cmd=abort exitcode={exit_code}\n".encode())


def inherited(environment: Mapping[str, str] = os.environ, proc: Path = Path("/proc")) -> str:
    """Say how it is known that another process is the rank; empty if nothing says so."""
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
    """Yield the processes between the launcher and this one: they have its variables too."""
    own = {name: environment[name] for name in launcher_variables(environment)}
    pid = os.getppid()
    for _ in range(_MAX_ANCESTORS if own else 0):
        if pid <= 1 or not own.items() <= _environment(proc / str(pid)).items():
            return
        yield pid
        try:
            pid = int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return


def _environment(place: Path) -> dict[str, str]:
    """Return the environment that a process began with; nothing where that cannot be read."""
    try:
        content = (place / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (own.partition("=") for own in content.decode(errors="replace").split("\0"))
    return {name: value for name, _, value in pairs}


def _has_mpi(place: Path) -> bool:
    """Whether a process has loaded MPI by itself, and not because a tool preloads it everywhere."""
    if _environment(place).get("LD_PRELOAD"):
        return False
    try:
        return _LIBRARY.search((place / "maps").read_bytes()) is not None
    except OSError:
        return False
