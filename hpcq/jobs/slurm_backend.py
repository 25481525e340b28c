"""SLURM's commands: what they are asked, and what they answer; nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from hpcq.core.errors import HpcqError
from hpcq.core.system import launcher_variables, parse_duration

_SECONDS = 60.0
_SUBMITTED = re.compile(r"^([1-9][0-9]*)(?:;.*)?$", re.MULTILINE)
_NODES = re.compile(r"([^|]*)\|([0-9]+)\+?\|([0-9]+)\+?\|([^|]*)\|([0-9]+)")
_LIVE = ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STAGE_OUT", "SIGNALING", "RESIZING")
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "REQUEUE_FED")

FIELDS = {
    "ArrayJobID": 24,
    "ArrayTaskID": 64,
    "UserID": 24,
    "State": 24,
    "exit_code": 24,
    "RestartCnt": 24,
    "NodeList": 1024,
    "Reason": 200,
}
"""What squeue is asked of a job, and in how many columns it answers.

Names, comments and folders are whatever a job's owner likes, line breaks included, so that an
answer that holds one of them can say anything of any user. None of these fields does.
"""

_TASK = re.compile(
    "".join(f"(?P<{name}>.{{{width}}})" for name, width in FIELDS.items() if name != "Reason")
    + "(?P<Reason>.*)"
)
_SQUEUE = ("squeue", "--noheader", "--all", "--states=all")


class SlurmError(HpcqError):
    """SLURM is not there, or says no; the message is its own."""


@dataclass(frozen=True)
class Task:
    """One job as SLURM sees it, or one task of a job array.

    Attributes:
        name: Its number.
        state: In SLURM's words, such as ``RUNNING``.
        reason: Why it waits, or ended.
        code: Its exit code; None where it has none yet.
        restarts: How often it was put back into the queue.
        nodes: Where it runs.
        uid: Number of its owner; None where that is not known.
    """

    name: str
    state: str
    reason: str = ""
    code: int | None = None
    restarts: int = 0
    nodes: str = ""
    uid: int | None = None

    @property
    def runs(self) -> bool:
        """Whether it holds an allocation."""
        return self.state in _LIVE

    @property
    def waits(self) -> bool:
        """Whether it is in the queue."""
        return self.state in _WAITING


@dataclass(frozen=True)
class Node:
    """What the nodes of a partition have, the least of each.

    Attributes:
        partition: Its name.
        cores: Of a node.
        memory: Bytes of a node.
        seconds: How long a job may take; None for ever.
        count: How many nodes there are.
    """

    partition: str
    cores: int
    memory: int
    seconds: float | None
    count: int


def submit(script: str, options: Sequence[str] = ()) -> str:
    """Submit a job script and return the job's number.

    Raises:
        SlurmError: If that is refused.
    """
    said = _ask(["sbatch", "--parsable", *options], script)
    found = _SUBMITTED.findall(said)
    if not found:
        raise _strange("sbatch", said, "the number of a job")
    return str(found[-1])


def refusal(script: str, options: Sequence[str] = ()) -> str:
    """Return why a job could never begin; empty if it could, or nobody knows."""
    try:
        _ask(["sbatch", "--test-only", *options], script)
    except SlurmError as error:
        said = str(error).removeprefix("slurm: ")
        hopeless = ("configuration is not available", "nvalid", "more processors", "imit")
        return said if any(own in said for own in hopeless) else ""
    return ""


def cancel(job: str) -> None:
    """Cancel a job; one that is over already is no error."""
    _ask(["scancel", job])


def tasks_of(job: str) -> list[Task]:
    """Return a job, or all tasks of an array; nothing where SLURM has forgotten it."""
    wanted = ",".join(f"{name}:{width}" for name, width in FIELDS.items())
    try:
        said = _ask([*_SQUEUE, f"--jobs={job}", f"--Format={wanted}"])
    except SlurmError as error:
        if "Invalid job id" not in str(error):
            raise
        return _accounted(job)
    found = [task for task in map(_task, said.splitlines()) if task is not None]
    if not found and said.strip():
        raise _strange("squeue", said, f"job {job}")
    return found or _accounted(job)


def names_of(job: str) -> str:
    """Return what a job is called, as a line; of an array, there is one for each of its tasks.

    The owner of a job chooses its name. Ask whose job it is first.

    Raises:
        SlurmError: If SLURM does not know the job, or does not answer.
    """
    return _ask([*_SQUEUE, f"--jobs={job}", "--format=%j"])


def nodes_of(partition: str | None) -> Node | None:
    """Return what the nodes of a partition have, of the default one if none is named."""
    named = [] if partition is None else [f"--partition={partition}"]
    said = _ask(["sinfo", "--noheader", "--exact", "--format=%P|%c|%m|%l|%D", *named])
    found: dict[str, Node] = {}
    for line in map(_NODES.fullmatch, map(str.strip, said.splitlines())):
        if line is None:
            continue  # a site's greeting
        name, cores, memory, limit, count = line.groups()
        own = Node(
            name.rstrip("*"), int(cores), int(memory) << 20, parse_duration(limit), int(count)
        )
        if partition is not None or name.endswith("*"):
            known = found.setdefault(own.partition, own)
            if known is not own:
                found[own.partition] = Node(
                    own.partition,
                    min(known.cores, own.cores),
                    min(known.memory, own.memory),
                    own.seconds,
                    known.count + own.count,
                )
    return next(iter(found.values()), None)


def _strange(command: str, said: str, expected: str) -> SlurmError:
    """Return the error for an answer that is none."""
    return SlurmError(
        f"slurm: {command} said {' '.join(said.split())[:200]!r}, expected {expected}"
    )


def _task(row: str) -> Task | None:
    """Read one row of squeue; None where it is none, but a site's greeting."""
    found = _TASK.fullmatch(row)
    if found is None:
        return None
    value = {name: text.strip() for name, text in found.groupdict().items()}
    name, state = value["ArrayJobID"], value["State"]
    if not name.isdecimal() or not re.fullmatch("[A-Z_]+", state):
        return None
    if value["ArrayTaskID"] not in ("", "N/A"):
        name += f"_{value['ArrayTaskID']}"
    return Task(
        name,
        state,
        "" if value["Reason"] == "None" else value["Reason"],
        _code(value["exit_code"], state),
        int(value["RestartCnt"]) if value["RestartCnt"].isdecimal() else 0,
        value["NodeList"],
        int(value["UserID"]) if value["UserID"].isdecimal() else None,
    )


def _code(said: str, state: str) -> int | None:
    """Return an exit code as a shell gives it; None while there is none.

    Args:
        said: ``code:signal`` of the accounting, or what ``wait`` gives, of squeue.
        state: Of the job.
    """
    code, colon, killed = said.partition(":")
    if state in _LIVE + _WAITING or not code.isdecimal():
        return None
    if not colon:
        return int(code) >> 8 or (128 + (int(code) & 127) if int(code) & 127 else 0)
    return int(code) or (128 + int(killed) if killed.isdecimal() and int(killed) else 0)


def _accounted(job: str) -> list[Task]:
    """Ask the accounting, where there is one, for a job that the controller has forgotten."""
    if shutil.which("sacct") is None:
        return []
    try:
        said = _ask(["sacct", "-n", "-X", "-P", "-j", job, "-o", "JobID,State,ExitCode"])
    except SlurmError:
        return []
    found = []
    for line in said.splitlines():
        if line.count("|") != 2:
            continue
        name, state, code = line.split("|")
        word = state.split()[0] if state else "UNKNOWN"
        found.append(Task(name, word, code=_code(code, word)))
    return found


def _ask(command: Sequence[str], text: str | None = None) -> str:
    """Call one of SLURM's commands.

    Raises:
        SlurmError: If it is not there, fails, or does not answer.
    """
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=_SECONDS,
            check=False,
            env=_environment(),
        )
    except FileNotFoundError:
        raise SlurmError(
            f"slurm: there is no {command[0]} on this machine, expected a login node of a SLURM "
            "cluster, or --local"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmError(f"slurm: {command[0]} did not answer: {error}") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise SlurmError(f"slurm: {said[:400] or f'{command[0]} ended with {done.returncode}'}")
    return done.stdout


def _environment() -> dict[str, str]:
    """Return the environment of SLURM's commands.

    A job inherits that of sbatch; where a rank calls it, the job must not take itself for that
    rank. What a user likes squeue to show and to leave out is not for us.
    """
    left_out = launcher_variables()
    return {
        name: value
        for name, value in os.environ.items()
        if name not in left_out and not name.startswith("SQUEUE_")
    }
