"""What a job asks SLURM for, checked before anything is submitted."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcq.core.errors import InputError

_WORD = re.compile(r"[A-Za-z0-9_.,:+=/@&|*\[\]()-]+")
_NODES = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_TIME = re.compile(r"#|#:#(:#)?|#-#(:#){0,2}".replace("#", "[0-9]{1,6}"))
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_OURS = (
    *("array", "chdir", "job-name", "open-mode", "output", "parsable", "signal", "wait", "wrap"),
    *("help", "test-only", "usage", "version"),
)
"""Options of sbatch with which hpcq would not know the job, or its files."""

_WARNING_SECONDS = 120
_SHORT_SECONDS = 600.0


@dataclass(frozen=True)
class ResourceRequest:
    """What a job asks for; None where SLURM, or the site, decides.

    Attributes:
        nodes: Fewest and most nodes.
        ranks_per_node: MPI ranks of each.
        cpus_per_rank: Cores of each rank.
        gpus_per_node: GPUs of each node; 0 for none.
        rank_bytes: Memory of a rank, with that of the libraries.
        time: In SLURM's words.
        words: Further options of sbatch by name, such as account and partition.
        array: Number of jobs that share the result; 1 for none.
        restarts: How often the job may put itself back into the queue.
        job_name: Its name.
    """

    nodes: tuple[int, int] = (1, 1)
    ranks_per_node: int = 1
    cpus_per_rank: int = 1
    gpus_per_node: int = 0
    rank_bytes: int | None = None
    time: str | None = None
    words: tuple[tuple[str, str], ...] = ()
    array: int = 1
    restarts: int = 0
    job_name: str = "hpcq"

    def __str__(self) -> str:
        least, most = self.nodes
        shown = str(least) if least == most else f"{least}-{most}"
        gpus = f", {self.gpus_per_node} GPUs" if self.gpus_per_node else ""
        where = "".join(f", {name} {value}" for name, value in self.words)
        return (
            f"{shown} nodes of {self.ranks_per_node} ranks of {self.cpus_per_rank} cores"
            f"{gpus}, time {self.time}{where}"
        )

    @property
    def _is_short(self) -> bool:
        """Whether a warning before the end would come too soon; a run sees the end itself."""
        return self.time is not None and seconds_of(self.time) < _SHORT_SECONDS

    @property
    def _tasks_per_node(self) -> int:
        """SLURM's tasks of each node: the ranks, and one more to schedule where there are GPUs."""
        return self.ranks_per_node + bool(self.gpus_per_node)

    @property
    def _is_vague(self) -> bool:
        """Whether SLURM must not know the tasks.

        Of a job that comes back it notices how many tasks the first start had, and waits for as
        many nodes at the next one.
        """
        return self.restarts > 0 and self.nodes[0] < self.nodes[1]

    def setup(self) -> list[str]:
        """Return lines of shell that say what :meth:`directives` leave open."""
        if not self._is_vague:
            return []
        return [
            "unset SLURM_NTASKS SLURM_NPROCS SLURM_TRES_PER_TASK # a node's cores are one task's",
            f"export SLURM_NTASKS_PER_NODE={self._tasks_per_node} "
            f"SLURM_CPUS_PER_TASK={self.cpus_per_rank}",
        ]

    def directives(self, log: str) -> dict[str, str | None]:
        """Return the options of sbatch by name.

        Args:
            log: Pattern of the log's path.
        """
        least, most = self.nodes
        tasks, cores = str(self._tasks_per_node), self.cpus_per_rank
        if self._is_vague:
            cores *= self._tasks_per_node
        found: dict[str, str | None] = {
            "job-name": self.job_name,
            "nodes": str(least) if least == most else f"{least}-{most}",
            "ntasks-per-node": None if self._is_vague else tasks,
            "cpus-per-task": str(cores),
            "output": log,
            "open-mode": "append",
            "signal": None if self._is_short else f"B:USR1@{_WARNING_SECONDS}",
            "requeue": "" if self.restarts else None,
        }
        if self.gpus_per_node:
            found["gpus-per-node"] = str(self.gpus_per_node)
        if self.rank_bytes is not None:
            found["mem-per-cpu"] = f"{math.ceil(self.rank_bytes / self.cpus_per_rank / 2**20)}M"
        if self.time is not None:
            found["time"] = self.time
        if self.array > 1:
            found["array"] = f"0-{self.array - 1}"
        return {**found, **dict(self.words)}


def read_nodes(text: str) -> tuple[int, int]:
    """Read a number of nodes, or a range of them.

    Raises:
        InputError: If it is none.
    """
    found = _NODES.fullmatch(text.strip())
    least = int(found[1]) if found else 0
    most = int(found[2] or found[1]) if found else 0
    if not 1 <= least <= most:
        raise InputError(
            f"nodes: {text[:40]!r}, expected a number such as 4, or a range such as 1-8"
        )
    return least, most


def read_time(text: str) -> str:
    """Check a time in SLURM's words.

    Raises:
        InputError: If it is none.
    """
    if not _TIME.fullmatch(text.strip()):
        raise InputError(
            f"time: {text[:40]!r}, expected minutes, or [D-]HH:MM:SS, as sbatch has it"
        )
    return text.strip()


def seconds_of(text: str) -> float:
    """Return the seconds of a time in SLURM's words."""
    if text.isdecimal():
        return 60.0 * int(text)
    days, dash, clock = text.rpartition("-")
    parts = [float(own) for own in clock.split(":")]
    first = 3600.0 if dash or len(parts) == 3 else 60.0
    return 86400.0 * int(days or 0) + sum(own * first * 60.0**-k for k, own in enumerate(parts))


def shown_time(seconds: float) -> str:
    """Write a time in SLURM's words, rounded up to minutes."""
    minutes = max(1, math.ceil(seconds / 60))
    days, rest = divmod(minutes, 24 * 60)
    clock = f"{rest // 60:02}:{rest % 60:02}:00"
    return f"{days}-{clock}" if days else clock


def read_word(name: str, value: Any) -> tuple[str, str]:
    """Check a value that goes to sbatch as it is.

    Raises:
        InputError: If it is more than a plain word.
    """
    text = str(value).strip()
    if not _WORD.fullmatch(text):
        raise InputError(f"{name}: {text[:40]!r}, expected a plain word, as sbatch takes it")
    return name, text


def read_option(text: str) -> tuple[str, str]:
    """Read an option for sbatch such as ``--exclusive`` or ``--licenses=matlab``.

    Raises:
        InputError: If it is none, or one that hpcq decides.
    """
    name, equals, value = text.strip().removeprefix("--").partition("=")
    if not re.fullmatch("[a-z][a-z-]*", name) or (equals and not _WORD.fullmatch(value)):
        raise InputError(f"sbatch: {text[:60]!r}, expected one option such as --exclusive")
    if name in _OURS:
        raise InputError(f"sbatch: {text[:60]!r} is for hpcq to say, expected another option")
    return name, value


def job_name(output: Path) -> str:
    """Return a name for the job of an output."""
    return (_NAME.sub("-", output.stem).strip("-.") or "hpcq")[:40]
