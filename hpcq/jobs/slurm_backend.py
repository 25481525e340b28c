"""Calls of SLURM's commands, and the parsing of their answers."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpcq.core.errors import HpcqError
from hpcq.core.system import environment_without_launcher, parse_duration

_TIMEOUT_SECONDS = 60.0
"""Seconds to wait for one of SLURM's commands; larger: a slow controller is not assumed dead."""

_JOB_NUMBER_LINE = re.compile(r"^([1-9][0-9]*)(?:;.*)?$", re.MULTILINE)
_NODES_LINE = re.compile(r"([^|]*)\|([0-9]+)\+?\|([0-9]+)\+?\|([^|]*)\|([0-9]+)")
_RUNNING_STATES = (
    *("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STAGE_OUT", "SIGNALING"),
    "RESIZING",
)
_PENDING_STATES = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "REQUEUE_FED")

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
"""Fields that squeue is asked for, with their widths in columns. None is free text: a job's name,
comment and folder may be any text of its owner's, line breaks included, which could forge rows
about other users' jobs."""

_TASK_LINE = re.compile(
    "".join(f"(?P<{name}>.{{{width}}})" for name, width in FIELDS.items() if name != "Reason")
    + "(?P<Reason>.*)"
)
_SQUEUE = ("squeue", "--noheader", "--all", "--states=all")


class SlurmError(HpcqError):
    """SLURM is missing, does not answer, or refuses; the message quotes it."""


@dataclass(frozen=True)
class Task:
    """SLURM's view of a job, or of one task of a job array.

    Attributes:
        name: Number of the job, with that of the task in an array.
        state: State in SLURM's words, such as ``RUNNING``.
        reason: Why the task waits, or why it ended.
        code: Exit code; None while it has none.
        restarts: How often the job was requeued.
        nodes: List of the nodes that it runs on.
        uid: User number of the owner; None where it is unknown.
    """

    name: str
    state: str
    reason: str = ""
    code: int | None = None
    restarts: int = 0
    nodes: str = ""
    uid: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether the task holds an allocation."""
        return self.state in _RUNNING_STATES

    @property
    def is_pending(self) -> bool:
        """Whether the task is in the queue."""
        return self.state in _PENDING_STATES


@dataclass(frozen=True)
class Node:
    """The smallest values of the nodes of a partition, and how many nodes it has.

    The memory is in bytes; the seconds are the longest time limit of a job, None for no limit.
    """

    partition: str
    cores: int
    memory: int
    seconds: float | None
    count: int


def submit(script: str, options: Sequence[str] = ()) -> str:
    """Submit a job script and return the job's number; a SlurmError quotes a refusal."""
    answer = _call(["sbatch", "--parsable", *options], script)
    found = _JOB_NUMBER_LINE.findall(answer)
    if not found:
        raise _unexpected_answer("sbatch", answer, "the number of a job")
    return str(found[-1])


def refusal(script: str, options: Sequence[str] = ()) -> str:
    """Return why a job could never start; empty if it could, or if SLURM does not tell."""
    try:
        _call(["sbatch", "--test-only", *options], script)
    except SlurmError as error:
        answer = str(error).removeprefix("slurm: ")
        final_errors = ("configuration is not available", "nvalid", "more processors", "imit")
        return answer if any(text in answer for text in final_errors) else ""
    return ""


def cancel(job: str) -> None:
    """Cancel a job; a job that is over is not an error."""
    _call(["scancel", job])


def tasks_of(job: str) -> list[Task]:
    """Return a job, or all tasks of an array; an empty list if SLURM has forgotten it."""
    wanted = ",".join(f"{name}:{width}" for name, width in FIELDS.items())
    try:
        answer = _call([*_SQUEUE, f"--jobs={job}", f"--Format={wanted}"])
    except SlurmError as error:
        if "Invalid job id" not in str(error):
            raise
        return _tasks_from_accounting(job)
    found = [task for task in map(_parse_task, answer.splitlines()) if task is not None]
    if not found and answer.strip():
        raise _unexpected_answer("squeue", answer, f"job {job}")
    return found or _tasks_from_accounting(job)


def names_of(job: str) -> str:
    """Return a job's name as a line, or one line for each task of an array.

    The name may be any text of the job's owner's: check the owner first.

    Raises:
        SlurmError: If SLURM does not know the job, or does not answer.
    """
    return _call([*_SQUEUE, f"--jobs={job}", "--format=%j"])


def nodes_of(partition: str | None) -> Node | None:
    """Return the smallest values of a partition's nodes; None names the default partition."""
    named = [] if partition is None else [f"--partition={partition}"]
    answer = _call(["sinfo", "--noheader", "--exact", "--format=%P|%c|%m|%l|%D", *named])
    smallest: dict[str, Node] = {}
    for line in map(_NODES_LINE.fullmatch, map(str.strip, answer.splitlines())):
        if line is None:
            continue  # such as a site's greeting
        name, cores, memory, limit, count = line.groups()
        node = Node(
            name.rstrip("*"), int(cores), int(memory) << 20, parse_duration(limit), int(count)
        )
        if partition is not None or name.endswith("*"):
            known = smallest.setdefault(node.partition, node)
            if known is not node:
                smallest[node.partition] = replace(
                    node,
                    cores=min(known.cores, node.cores),
                    memory=min(known.memory, node.memory),
                    count=known.count + node.count,
                )
    return next(iter(smallest.values()), None)


def _unexpected_answer(command: str, answer: str, expected: str) -> SlurmError:
    """Return the error for an answer that cannot be parsed."""
    return SlurmError(
        f"slurm: {command} said {' '.join(answer.split())[:200]!r}, expected {expected}"
    )


def _parse_task(row: str) -> Task | None:
    """Parse one row of squeue; None if it is another text, such as a site's greeting."""
    found = _TASK_LINE.fullmatch(row)
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
        _parse_exit_code(value["exit_code"], state),
        int(value["RestartCnt"]) if value["RestartCnt"].isdecimal() else 0,
        value["NodeList"],
        int(value["UserID"]) if value["UserID"].isdecimal() else None,
    )


def _parse_exit_code(text: str, state: str) -> int | None:
    """Return the exit code of a job in a state, as a shell reports it; None while it has none.

    The text is ``code:signal``, as sacct writes it, or the status of ``wait``, as squeue does.
    """
    code, colon, killed = text.partition(":")
    if state in _RUNNING_STATES + _PENDING_STATES or not code.isdecimal():
        return None
    if not colon:
        return int(code) >> 8 or (128 + (int(code) & 127) if int(code) & 127 else 0)
    return int(code) or (128 + int(killed) if killed.isdecimal() and int(killed) else 0)


def _tasks_from_accounting(job: str) -> list[Task]:
    """Return the tasks of a job that the controller has forgotten, from SLURM's accounting."""
    if shutil.which("sacct") is None:
        return []
    try:
        answer = _call(["sacct", "-n", "-X", "-P", "-j", job, "-o", "JobID,State,ExitCode"])
    except SlurmError:
        return []
    found = []
    for line in answer.splitlines():
        if line.count("|") != 2:
            continue
        name, state, code = line.split("|")
        word = state.split()[0] if state else "UNKNOWN"
        found.append(Task(name, word, code=_parse_exit_code(code, word)))
    return found


def _call(command: Sequence[str], text: str | None = None) -> str:
    """Call one of SLURM's commands and return its output."""
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=_TIMEOUT_SECONDS,
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
        answer = " ".join((done.stderr or done.stdout).split())
        raise SlurmError(f"slurm: {answer[:400] or f'{command[0]} ended with {done.returncode}'}")
    return done.stdout


def _environment() -> dict[str, str]:
    """Return the environment for SLURM's commands, which jobs inherit from sbatch.

    It has none of the user's defaults for squeue, which change its answers.
    """
    environment = environment_without_launcher()
    return {name: v for name, v in environment.items() if not name.startswith("SQUEUE_")}
