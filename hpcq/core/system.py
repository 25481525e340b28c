"""What this machine gives a process: cores, memory, and how many ranks a launcher started."""

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
from pathlib import Path

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
"""Variables by which each launcher tells a process its rank, and of how many."""

_INHERITED_RANK = "SLURM_PROCID"
"""A rank's number that makes no process a rank: batch scripts have it, and what they start."""

PMIX_RANK, _PMIX_SERVER = "PMIX_RANK", "PMIX_SERVER_URI"
"""PMIx tells no size here; whoever has its rank also has variables that name its server."""

_KEY = re.compile("AUTH|CREDENTIAL|JWT|KEY|PASS|SECRET|TOKEN")
"""Words in the names of variables that may hold secrets."""

_SQUEUE_SECONDS = 5.0
"""How long squeue may take: all ranks wait. Without it SIGTERM still stops a run, all saved."""

_MIN_SECRET_LENGTH = 6
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def is_launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether an MPI launcher may have started this process; MPI then knows of how many."""
    return any(name != PMIX_RANK for name in launcher_variables(environment)) or (
        PMIX_RANK in environment and not lacks_pmix_server(environment)
    )


def lacks_pmix_server(environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether PMIx's rank is there, left over from elsewhere, and no server that it is of."""
    return PMIX_RANK in environment and not any(
        name.startswith(_PMIX_SERVER) for name in environment
    )


def launcher_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Names of the variables that are there and make a process a rank; ranks' numbers first."""
    ranks = [rank for rank, _ in _LAUNCHERS if rank != _INHERITED_RANK]
    sizes = [size for _, size in _LAUNCHERS]
    return [name for name in (*ranks, PMIX_RANK, *sizes) if name in environment]


def launched_size(environment: Mapping[str, str] = os.environ) -> int:
    """Number of processes that the launcher says it started; 1 where it says nothing."""
    return _rank_and_size(environment)[1]


def launched_rank(environment: Mapping[str, str] = os.environ) -> int:
    """This process's rank as far as the launcher's variables tell; 0 where they don't."""
    return _rank_and_size(environment)[0]


def _rank_and_size(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return rank and size as one launcher tells both.

    A number that no size goes with, or one that is too small for it, is no rank: programs hand
    such variables on to processes that are no ranks of anything.
    """
    sizes = []
    for of_rank, of_size in _LAUNCHERS:
        rank, size = _number(environment, of_rank), _number(environment, of_size)
        if rank is not None and size is not None and rank < size:
            return rank, size
        if size:
            sizes.append(size)
    return 0, sizes[0] if sizes else 1


def _number(environment: Mapping[str, str], name: str) -> int | None:
    """Return the whole number that a variable holds; None if it holds none."""
    value = environment.get(name, "")
    return int(value) if re.fullmatch("[0-9]{1,9}", value) else None


def rank_name() -> str:
    """Name this process among several, by the launcher's variables; empty if it is the only one."""
    size = launched_size()
    return f"rank {launched_rank()} of {size} on {socket.gethostname()}" if size > 1 else ""


def usable_cores() -> frozenset[int]:
    """The cores that this process may run on (its binding), as the system numbers them."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def usable_memory() -> int:
    """Bytes that new allocations on this node may take: free memory, or the cgroup's limit."""
    available = _meminfo_available()
    for limit, usage in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            room = int(Path(limit).read_text()) - int(Path(usage).read_text())
        except (OSError, ValueError):
            continue
        available = min(available, max(room, 1 << 28))
    return available


def _meminfo_available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def parse_bytes(text: str, name: str = "memory") -> int:
    """Read a size such as ``4G``, ``4GiB``, ``512M`` or ``1073741824``.

    Raises:
        InputError: If it is none.
    """
    body = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = body[-1:] if body[-1:] in "KMGT" else ""
    number = body.removesuffix(unit) if unit else body
    try:
        size = float(number) * _UNITS[unit]
        if not 1 <= size < 1 << 60:
            raise ValueError
    except (ValueError, OverflowError):
        raise InputError(
            f"{name}: {text[:40]!r} is no size, expected a number of bytes such as 4G or 512M"
        ) from None
    return int(size)


def redact_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return what a library or a service said, without the keys that the environment holds."""
    for name, value in environment.items():
        if _KEY.search(name) and len(value) >= _MIN_SECRET_LENGTH:
            text = text.replace(value, f"${name}")
    return text


def write_stderr(line: str) -> None:
    """Write a line to stderr, if anybody still hears it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{printable_lines(line)}\n")
        sys.stderr.flush()


def parse_duration(text: str) -> float | None:
    """Read seconds, or a time as SLURM writes it ([D-]HH:MM:SS, MM:SS); None if it is neither."""
    days, _, clock = text.strip().rpartition("-")
    parts = clock.split(":")
    try:
        numbers = [int(own) for own in parts] if len(parts) > 1 or days else [float(text)]
        if days:
            numbers += [0] * (3 - len(numbers))
        if len(numbers) > 3 or min(numbers) < 0:
            return None
        value = int(days or 0) * 86400 + sum(
            own * 60**place for place, own in enumerate(reversed(numbers))
        )
    except ValueError:
        return None
    return float(value) if 0 < value < 1e9 else None


def slurm_seconds_left(environment: Mapping[str, str] = os.environ) -> float | None:
    """Seconds until the SLURM allocation ends; None where there is none, or nobody knows.

    SLURM before 23.02 does not tell by a variable, so it is asked.
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
        why = f"no answer within {_SQUEUE_SECONDS:g} s"
        if isinstance(error, subprocess.CalledProcessError):
            why = " ".join(error.stderr.split())[:200] or f"exit code {error.returncode}"
        write_stderr(
            f"hpcq: warning: squeue does not say when SLURM job {job[:40]} ends "
            f"({printable(why)}); a time limit (--time-limit) stops a run before, all saved"
        )
        return None
    return parse_duration(done.stdout)


def format_bytes(size: float) -> str:
    """Write a number of bytes for people, in binary units."""
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
    """Keep numpy's matrix products to so many threads.

    More than one pays only where single products are large; many small ones on several threads
    wait for each other, the longer the busier the machine is.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(threads, user_api="blas")
    return limits
