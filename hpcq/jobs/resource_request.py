"""The resources that a job asks SLURM for, checked before anything is submitted."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.system import parse_duration

_WORD = re.compile(r"[A-Za-z0-9_.,:+=/@&|*\[\]()-]+")
_NODES = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_TIME = re.compile(r"#|#:#(:#)?|#-#(:#){0,2}".replace("#", "[0-9]{1,6}"))
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_RESERVED_OPTIONS = (
    *("array", "chdir", "job-name", "open-mode", "output", "parsable", "signal", "wait", "wrap"),
    *("help", "test-only", "usage", "version"),
)
"""Options of sbatch that ``--sbatch`` must not set: hpcq could not find the job or its files."""

_WARNING_SECONDS = 120
"""Seconds before the time limit at which SLURM warns the job. Larger: more time to save; smaller:
less of the allocation goes unused."""

_MIN_WARNED_SECONDS = 600.0
"""Time limit in seconds below which the job asks for no warning, which would take too large a share
of the time; the run watches the time limit itself."""


@dataclass(frozen=True)
class ResourceRequest:
    """Resources of a job; None where SLURM, or the site, decides.

    Attributes:
        nodes: Minimum and maximum number of nodes.
        ranks_per_node: MPI ranks on each node.
        cpus_per_rank: Cores of each rank.
        gpus_per_node: GPUs of each node; 0 for none.
        rank_bytes: Memory of a rank in bytes, with that of the libraries.
        time: Time limit in SLURM's format.
        sbatch: Further options of sbatch with their values, such as account and partition.
        array: Number of jobs that share the result; 1 for no array.
        restarts: How often the job may requeue itself.
        job_name: Name of the job.
    """

    nodes: tuple[int, int] = (1, 1)
    ranks_per_node: int = 1
    cpus_per_rank: int = 1
    gpus_per_node: int = 0
    rank_bytes: int | None = None
    time: str | None = None
    sbatch: tuple[tuple[str, str], ...] = ()
    array: int = 1
    restarts: int = 0
    job_name: str = "hpcq"

    def __str__(self) -> str:
        gpus = f", {self.gpus_per_node} GPUs" if self.gpus_per_node else ""
        where = "".join(f", {name} {value}" for name, value in self.sbatch)
        return (
            f"{self._node_range} nodes of {self.ranks_per_node} ranks of {self.cpus_per_rank} cores"
            f"{gpus}, time {self.time}{where}"
        )

    @property
    def _node_range(self) -> str:
        """The number of nodes, or a range, as sbatch takes it."""
        min_nodes, max_nodes = self.nodes
        return str(min_nodes) if min_nodes == max_nodes else f"{min_nodes}-{max_nodes}"

    @property
    def _tasks_per_node(self) -> int:
        """SLURM's tasks on each node: the ranks, and one that schedules where there are GPUs."""
        return self.ranks_per_node + bool(self.gpus_per_node)

    @property
    def _hides_tasks(self) -> bool:
        """Whether the number of tasks must be hidden from SLURM.

        SLURM remembers the number of tasks of a requeued job's first start, and waits for as many
        nodes at the next one, although the job asked for a range.
        """
        return self.restarts > 0 and self.nodes[0] < self.nodes[1]

    def setup(self) -> list[str]:
        """Return lines of shell that tell srun the numbers that :meth:`directives` leaves out."""
        if not self._hides_tasks:
            return []
        return [
            "unset SLURM_NTASKS SLURM_NPROCS SLURM_TRES_PER_TASK # a node's cores are one task's",
            f"export SLURM_NTASKS_PER_NODE={self._tasks_per_node} "
            f"SLURM_CPUS_PER_TASK={self.cpus_per_rank}",
        ]

    def directives(self, log: str) -> dict[str, str | None]:
        """Return the options of sbatch by name; None for one that the script must not have."""
        tasks, cores = str(self._tasks_per_node), self.cpus_per_rank
        if self._hides_tasks:
            cores *= self._tasks_per_node
        is_short = self.time is not None and seconds_of(self.time) < _MIN_WARNED_SECONDS
        match: dict[str, str | None] = {
            "job-name": self.job_name,
            "nodes": self._node_range,
            "ntasks-per-node": None if self._hides_tasks else tasks,
            "cpus-per-task": str(cores),
            "output": log,
            "open-mode": "append",
            "signal": None if is_short else f"B:USR1@{_WARNING_SECONDS}",
            "requeue": "" if self.restarts else None,
        }
        if self.gpus_per_node:
            match["gpus-per-node"] = str(self.gpus_per_node)
        if self.rank_bytes is not None:
            match["mem-per-cpu"] = f"{math.ceil(self.rank_bytes / self.cpus_per_rank / 2**20)}M"
        if self.time is not None:
            match["time"] = self.time
        if self.array > 1:
            match["array"] = f"0-{self.array - 1}"
        return {**match, **dict(self.sbatch)}


def parse_nodes(text: str) -> tuple[int, int]:
    """Parse a number of nodes, or a range, into minimum and maximum; or raise an InputError."""
    if match := _NODES.fullmatch(text.strip()):
        min_nodes, max_nodes = int(match[1]), int(match[2] or match[1])
        if 1 <= min_nodes <= max_nodes:
            return min_nodes, max_nodes
    raise InputError(f"nodes: {text[:40]!r}, expected a number such as 4, or a range such as 1-8")


def parse_time(text: str) -> str:
    """Return a time without blanks around it; raise an InputError if it is not SLURM's."""
    if not _TIME.fullmatch(text.strip()):
        raise InputError(f"time: {text[:40]!r}, expected minutes or [D-]HH:MM:SS, as in sbatch")
    return text.strip()


def seconds_of(text: str) -> float:
    """Return the seconds of a time in SLURM's format; infinity for 0, which is no limit."""
    return (60.0 * int(text) if text.isdecimal() else parse_duration(text)) or math.inf


def format_time(seconds: float) -> str:
    """Return a time in SLURM's format, rounded up to minutes."""
    minutes = max(1, math.ceil(seconds / 60))
    days, rest = divmod(minutes, 24 * 60)
    clock = f"{rest // 60:02}:{rest % 60:02}:00"
    return f"{days}-{clock}" if days else clock


def parse_word(name: str, value: Any) -> tuple[str, str]:
    """Return an option's name and its value, which goes to sbatch as it is.

    Raises:
        InputError: If the value is not a word without spaces and quotes.
    """
    text = str(value).strip()
    if not _WORD.fullmatch(text):
        raise InputError(f"{name}: {text[:40]!r}, expected a word without spaces and quotes")
    return name, text


def parse_sbatch_option(text: str) -> tuple[str, str]:
    """Split an option of sbatch such as ``--exclusive`` or ``--licenses=matlab`` at its ``=``.

    Raises:
        InputError: If it is not one option, or one that hpcq sets.
    """
    name, equals, value = text.strip().removeprefix("--").partition("=")
    if not re.fullmatch("[a-z][a-z-]*", name) or (equals and not _WORD.fullmatch(value)):
        raise InputError(f"sbatch: {text[:60]!r}, expected one option such as --exclusive")
    if name in _RESERVED_OPTIONS:
        raise InputError(f"sbatch: {text[:60]!r} is set by hpcq, expected another option")
    return name, value


def job_name(output: Path) -> str:
    """Return the default name of an output's job."""
    return (_NAME.sub("-", output.stem).strip("-.") or "hpcq")[:40]
