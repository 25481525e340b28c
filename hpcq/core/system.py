"""What the machine offers a process: cores, memory, time, and ranks that a launcher started."""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.files import printable, printable_lines

_LAUNCHERS = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    ("PALS_RANKID", "PALS_SIZE"),
    ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
"""For each launcher, the variables that hold a process's rank and the number of processes."""

_INHERITED_RANK = "SLURM_PROCID"
"""A variable that does not mark a rank: batch scripts have it, and so do all that they start."""

PMIX_RANK, _PMIX_SERVER = "PMIX_RANK", "PMIX_SERVER_URI"
"""PMIx sets no variable with the size; beside the rank it sets the address of its server."""

_SECRET_NAME = re.compile("AUTH|CREDENTIAL|JWT|KEY|PASS|SECRET|TOKEN")
"""Parts of the names of environment variables that may hold secrets."""

_SQUEUE_SECONDS = 5.0
"""Time limit of squeue; all ranks wait for it. Without its answer SIGTERM still stops a run and
saves it."""

_MIN_SECRET_LENGTH = 6
"""Characters of the shortest value that is replaced; shorter ones, such as `1` or `true`, occur in
ordinary text."""

_CGROUP = Path("/sys/fs/cgroup")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
"""Bytes per unit of memory, by its letter."""


def is_launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether an MPI launcher may have started this process; MPI then knows the size."""
    return any(name != PMIX_RANK for name in launcher_variables(environment)) or (
        PMIX_RANK in environment and not lacks_pmix_server(environment)
    )


def lacks_pmix_server(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether PMIx's rank is set without its server, that is, inherited from elsewhere."""
    has_server = any(name.startswith(_PMIX_SERVER) for name in environment)
    return PMIX_RANK in environment and not has_server


def launcher_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of all variables that mark this process as a rank, those of ranks first."""
    ranks = [rank for rank, _ in _LAUNCHERS if rank != _INHERITED_RANK]
    sizes = [size for _, size in _LAUNCHERS]
    return [name for name in (*ranks, PMIX_RANK, *sizes) if name in environment]


def environment_without_launcher() -> dict[str, str]:
    """Return the environment for a child that must not take itself for an MPI rank."""
    launcher_set = launcher_variables()
    return {name: value for name, value in os.environ.items() if name not in launcher_set}


def launched_size(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of processes that the launcher started; 1 without a launcher."""
    return _rank_and_size(environment)[1]


def launched_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return this process's rank by the launcher's variables; 0 without a launcher."""
    return _rank_and_size(environment)[0]


def _rank_and_size(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return rank and size as set by one launcher.

    A rank without a size, or with one that is not larger than it, does not count: programs hand
    such variables on to processes that are not ranks.
    """
    sizes = []
    for rank_variable, size_variable in _LAUNCHERS:
        rank, size = number_in(environment, rank_variable), number_in(environment, size_variable)
        if rank is not None and size is not None and rank < size:
            return rank, size
        if size:
            sizes.append(size)
    return 0, sizes[0] if sizes else 1


def number_in(environment: Mapping[str, str], name: str) -> int | None:
    """Return the whole number in a variable; None if it is unset or not a number."""
    value = environment.get(name, "")
    return int(value) if re.fullmatch("[0-9]{1,9}", value) else None


def rank_name() -> str:
    """Return rank, size and host of this process for messages; empty if it is the only one."""
    size = launched_size()
    return f"rank {launched_rank()} of {size} on {socket.gethostname()}" if size > 1 else ""


def usable_cores() -> frozenset[int]:
    """Return the system's numbers of the cores that this process may run on (its binding)."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def usable_memory() -> int:
    """Return the bytes that are free on this node, or within the limit of the cgroup if fewer."""
    available = _meminfo_available()
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            free = int((_CGROUP / limit).read_text()) - int((_CGROUP / usage).read_text())
        except (OSError, ValueError):
            continue
        available = min(available, max(free, 1 << 28))
    return available


def _meminfo_available() -> int:
    """Return the available memory in bytes; all of it on a system without ``/proc``."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def parse_bytes(text: str) -> int:
    """Return the bytes of ``4G``, ``4GiB``, ``512M`` or ``1073741824``; or raise an InputError."""
    body = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = body[-1:] if body[-1:] in "KMGT" else ""
    number = body.removesuffix(unit) if unit else body
    try:
        size = float(number) * _UNITS[unit]
        if not 1 <= size < 1 << 60:
            raise ValueError
    except (ValueError, OverflowError):
        raise InputError(
            f"memory: {text[:40]!r}, expected a number of bytes such as 4G or 512M"
        ) from None
    return int(size)


def redact_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Replace the secrets in the environment that a text quotes by the names of their variables."""
    for name, value in environment.items():
        if _SECRET_NAME.search(name) and len(value) >= _MIN_SECRET_LENGTH:
            text = text.replace(value, f"${name}")
    return text


def write_stderr(line: str) -> None:
    """Write a line to stderr; do nothing if it is closed."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{printable_lines(line)}\n")
        sys.stderr.flush()


def parse_duration(text: str) -> float | None:
    """Return the seconds of a number or SLURM time ([D-]HH:MM:SS, MM:SS); None if it is neither."""
    days, _, clock = text.strip().rpartition("-")
    parts = clock.split(":")
    try:
        numbers = [int(part) for part in parts] if len(parts) > 1 or days else [float(text)]
        if days:
            numbers += [0] * (3 - len(numbers))
        if len(numbers) > 3 or min(numbers) < 0:
            return None
        seconds = sum(number * 60**power for power, number in enumerate(reversed(numbers)))
        value = int(days or 0) * 86400 + seconds
    except ValueError:
        return None
    return float(value) if 0 < value < 1e9 else None


def slurm_seconds_left(environment: Mapping[str, str] = os.environ) -> float | None:
    """Return the seconds until the SLURM allocation ends; None without one or if unknown.

    SLURM before 23.02 sets no variable for it, so squeue is called.
    """
    end = environment.get("SLURM_JOB_END_TIME", "")
    if re.fullmatch("[0-9]{1,12}", end):
        return int(end) - time.time()
    job = environment.get("SLURM_JOB_ID", "")
    if not re.fullmatch("[0-9]+", job):
        return None
    command = ["squeue", "--noheader", "--format=%L", f"--jobs={job}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SQUEUE_SECONDS, check=True
        )
    except OSError:
        return None
    except subprocess.SubprocessError as error:
        reason = f"no answer within {_SQUEUE_SECONDS:g} s"
        if isinstance(error, subprocess.CalledProcessError):
            reason = " ".join(error.stderr.split())[:200] or f"exit code {error.returncode}"
        write_stderr(
            f"hpcq: warning: squeue does not say when SLURM job {job[:40]} ends "
            f"({printable(reason)}); set --time-limit to stop and save the run in time"
        )
        return None
    return parse_duration(done.stdout)


def format_bytes(size: float) -> str:
    """Return a number of bytes as text in binary units."""
    if size >= 1 << 70:
        return f"2^{math.log2(size):.0f} B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if size < 1024 or unit == "PiB":
            break
        size /= 1024
    if size >= 1e6:
        return f"{size:.1e} {unit}"
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def blas_threads(threads: int) -> AbstractContextManager[object]:
    """Return a context manager that limits NumPy's matrix products to a number of threads.

    Several threads pay only for large products. Threads of small products wait for each other, and
    the longer the busier the machine is.
    """
    limits: AbstractContextManager[object] = _blas_libraries(len(sys.modules)).limit(limits=threads)
    return limits


@lru_cache(maxsize=1)
def _blas_libraries(_num_modules: int) -> Any:
    """Return the BLAS libraries of this process, looked for again only after a module is loaded."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
