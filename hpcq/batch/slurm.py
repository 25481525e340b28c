"""SLURM's commands: what they are asked, and what they answer; nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcq.errors import HpcqError
from hpcq.machine import launcher_variables, read_duration

_SECONDS = 60.0
_SUBMITTED = re.compile(r"^([0-9]+)(?:;.*)?$", re.MULTILINE)
_JOB = re.compile(r"(^|\s)JobId=[0-9]")
_OWNER = re.compile(r"\(([0-9]+)\)$")
_NODES = re.compile(r"([^|]*)\|([0-9]+)\+?\|([0-9]+)\+?\|([^|]*)\|([0-9]+)")
_LIVE = ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STAGE_OUT", "SIGNALING", "RESIZING")
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "REQUEUE_FED")


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
        title: What it was called when it was submitted.
        uid: Number of its owner; None where that is not known.
    """

    name: str
    state: str
    reason: str = ""
    code: int | None = None
    restarts: int = 0
    nodes: str = ""
    title: str = ""
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
    try:
        said = _ask(["scontrol", "--details", "show", "job", job])
    except SlurmError as error:
        if "Invalid job id" not in str(error):
            raise
        return _accounted(job)
    found = [_task(block) for block in re.split(r"\n\s*\n", said) if _JOB.search(block)]
    if not found:
        raise _strange("scontrol", said, f"job {job}")
    return found


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
            name.rstrip("*"), int(cores), int(memory) << 20, read_duration(limit), int(count)
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


def _task(block: str) -> Task:
    """Read one block of ``scontrol show job``."""
    values = dict(re.findall(r"(?:^|\s)(\w+)=(\S*)", block))
    name = values["JobId"]
    if "ArrayTaskId" in values:
        name = f"{values['ArrayJobId']}_{values['ArrayTaskId']}"
    state = values.get("JobState", "UNKNOWN")
    reason, restarts = values.get("Reason", ""), values.get("Restarts", "")
    owner = _OWNER.search(values.get("UserId", ""))
    return Task(
        name,
        state,
        "" if reason == "None" else reason,
        _code(values, state),
        int(restarts) if restarts.isdecimal() else 0,
        values.get("NodeList", "").replace("(null)", ""),
        values.get("JobName", ""),
        int(owner[1]) if owner else None,
    )


def _code(values: Mapping[str, str], state: str) -> int | None:
    code, _, killed = values.get("ExitCode", "").partition(":")
    if state in _LIVE + _WAITING or not code.isdecimal():
        return None
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
        found.append(Task(name, word, code=_code({"ExitCode": code}, word)))
    return found


def _ask(command: Sequence[str], text: str | None = None) -> str:
    """Call one of SLURM's commands.

    A job inherits the environment of sbatch; where a rank calls it, the job must not take itself
    for that rank.

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
            env={k: v for k, v in os.environ.items() if k not in launcher_variables()},
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
