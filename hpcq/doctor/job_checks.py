"""How a batch system runs hpcq: what the ranks were given, and what to change in the job script."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from hpcq.core.errors import HpcqError
from hpcq.core.files import printable_path
from hpcq.core.system import (
    is_launched,
    launched_rank,
    launched_size,
    slurm_seconds_left,
    usable_cores,
)
from hpcq.doctor import filesystem_checks as trying
from hpcq.doctor import srun_mpi as launching
from hpcq.doctor.finding import Finding
from hpcq.engines.gpu import is_gpu_build, visible_gpus
from hpcq.parallel.serial import Farm, SerialFarm
from hpcq.parallel.world import abort_on_error, open_farm

_SHORT_SECONDS = 60.0
"""Seconds left below which a run hardly does anything before it stops in time."""

_GPUS = ("SLURM_GPUS", "SLURM_GPUS_PER_NODE", "SLURM_GPUS_PER_TASK", "SLURM_JOB_GPUS")
_ASKED_CORES = "--cpus-per-task=$SLURM_CPUS_PER_TASK"

Environment = Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """What one rank was given.

    Attributes:
        host: Its node.
        cores: The cores it may run on.
        threads: How many of them fall to it.
        gpus: The GPUs it may use, by names that are the same for all ranks of the node.
        computes: Whether it computes, and does not only schedule.
        faults: What the file system does not do, seen from there.
    """

    host: str
    cores: Sequence[int]
    threads: int
    gpus: Sequence[str]
    computes: bool
    faults: Sequence[str]


def examine_batch(environment: Environment = os.environ) -> list[Finding]:
    """Look at the batch system and the ranks; all ranks together. What is found, is on rank 0."""
    try:
        farm = open_farm()
    except HpcqError:
        farm = SerialFarm()  # said elsewhere; each process looks at what it was given
    with abort_on_error(farm):
        places, faults = _gathered(farm, environment)
    if farm.rank > 0 or launched_rank(environment) > 0:
        return []
    if "SLURM_JOB_ID" not in environment:
        return [_outside(), _files(places, faults)]
    findings = [_slurm(environment), _launch(places, environment)]
    findings += [_binding(places, environment), _threads(places, environment)]
    findings += [*_gpus(places, environment), _time(environment), _files(places, faults)]
    return findings


def _gathered(farm: Farm, environment: Environment) -> tuple[list[Place], tuple[str, ...]]:
    """Gather what each rank was given; and what rank 0 found wrong with the file system."""
    trial = trying.begin() if farm.rank == 0 else trying.FilesystemTrial()
    try:
        folder = os.fsdecode(farm.broadcast(os.fsencode(trial.place)))
        other = folder and farm.rank > 0 and not trial.faults
        place = Place(
            _host(environment),
            sorted(usable_cores()),
            farm.local_resources()[0],
            _comparable_gpus(visible_gpus(environment), environment),
            farm.computes,
            trying.look(folder) if other else [],
        )
        said = farm.gather_names(f"{place.host} {json.dumps(asdict(place))}")
    finally:
        trial.end()
    return [Place(**json.loads(own.partition(" ")[2])) for own in said], trial.faults


def _host(environment: Environment) -> str:
    """Return the node's name; SLURM's, where the variable is of this process and not inherited."""
    name = environment.get("SLURMD_NODENAME", "")
    if environment.get("SLURM_TASK_PID") != str(os.getpid()) or not name:
        name = socket.gethostname().partition(".")[0]
    return re.sub(r"[^0-9A-Za-z_.-]", "?", name) or "?"


def _comparable_gpus(gpus: Sequence[str], environment: Environment) -> list[str]:
    """Name GPUs so that ranks can compare them: two ranks' GPU 0 may be different GPUs."""
    if not gpus or not shutil.which("nvidia-smi"):
        own = environment.get("SLURM_LOCALID", "") if "SLURM_GPUS_PER_TASK" in environment else ""
        return [f"{own}/{gpu}" if own else gpu for gpu in gpus]
    said = launching.answer(["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"])
    known = {str(index): line.strip() for index, line in enumerate(said.splitlines())}
    return [known.get(gpu, gpu) for gpu in gpus]


def _outside() -> Finding:
    if shutil.which("sbatch") is None:
        return Finding("slurm", "none")
    said = launching.answer(["sinfo", "--noheader", "--format=%P"], 3.0)
    found = re.search(r"^(\S+)\*\s*$", said, re.MULTILINE)
    default = f"default partition {_shown(found[1])}" if found else "no default partition"
    return Finding("slurm", f"{_version()}, {default if said else 'its controller is silent'}")


def _slurm(environment: Environment) -> Finding:
    nodes = _shown(environment.get("SLURM_JOB_NODELIST", "?"))
    return Finding(
        "slurm", f"{_version()}, in job {_shown(environment['SLURM_JOB_ID'])} on {nodes}"
    )


def _version() -> str:
    for command in ("srun", "sbatch", "sinfo"):
        found = re.search(
            r"[0-9]+\.[0-9]+(\.[0-9]+)?", launching.answer([command, "--version"], 3.0)
        )
        if found:
            return f"SLURM {found[0]}"
    return "SLURM of unknown version"


def _launch(places: Sequence[Place], environment: Environment) -> Finding:
    """Tell which MPI it is, where its ranks are, and what srun needs to join them."""
    loaded = sys.modules.get("mpi4py.MPI")
    text = loaded.Get_library_version() if loaded else launching.library_version()
    mpi = " ".join(launching.flavour(text)) or "no MPI that is known here"
    word = launching.srun_mpi(text, launching.listed_plugins())
    used = _shown(environment.get("SLURM_MPI_TYPE", "")) if _under_srun(places, environment) else ""
    mpi += f", srun --mpi={used}" if used else ""
    asked = " " + _ASKED_CORES if _number(environment, "SLURM_CPUS_PER_TASK") else ""
    start = f"`srun --mpi={word}{asked} hpcq ...`" if word else "its own mpirun: no --mpi fits"
    started = launched_size(environment)
    if len(places) == 1 and started > 1:
        return Finding(
            "launch", f"{mpi}: {started} worlds of one rank each; start with {start}", ok=False
        )
    tasks = _number(environment, "SLURM_NTASKS") or 1
    if len(places) == 1 and tasks > 1:
        return Finding("launch", f"{mpi}: one rank here, and room for {tasks}, with {start}")
    nodes = Counter(place.host for place in places).items()
    shown = ", ".join(f"{count} on {host}" for host, count in list(nodes)[:4])
    more = f", and {len(nodes) - 4} more nodes" if len(nodes) > 4 else ""
    ranks = "1 rank" if len(places) == 1 else f"{len(places)} ranks"
    return Finding("launch", f"{mpi}: {ranks}, {shown}{more}")


def _binding(places: Sequence[Place], environment: Environment) -> Finding:
    first, asked = places[0], _number(environment, "SLURM_CPUS_PER_TASK")
    text = f"rank 0 may run on cores {_ranges(first.cores)}"
    text += f", asked for {asked} a rank" if asked else ""
    short = [rank for rank, place in enumerate(places) if len(place.cores) < (asked or 0)]
    if not short or not is_launched(environment):
        return Finding("binding", text)
    least = places[short[0]]
    cure = f"srun {_ASKED_CORES} (not inherited from sbatch since SLURM 22.05)"
    if not _under_srun(places, environment):
        cure = "mpirun --bind-to none (Open MPI), -bind-to none (MPICH)"
    if short[0]:
        text += f"; rank {short[0]} only on {_ranges(least.cores)}"
    return Finding("binding", text, advice=f"expected {cure}")


def _threads(places: Sequence[Place], environment: Environment) -> Finding:
    """Compare the threads that ranks will have with the cores of rank 0's node."""
    host = places[0].host
    own = [place for place in places if place.host == host]
    threads = min(place.threads for place in places)
    union = {core for place in own for core in place.cores}
    ranks = "1 rank" if len(own) == 1 else f"{len(own)} ranks"
    cores = "1 core" if len(union) == 1 else f"{len(union)} cores"
    text = f"{threads} each for {ranks} on {host}, of {cores}"
    asked = _number(environment, "SLURM_CPUS_PER_TASK")
    granted = min(_number(environment, "SLURM_CPUS_ON_NODE") or 0, os.cpu_count() or 1)
    if not is_launched(environment):
        return Finding("threads", text)
    if asked and threads < asked <= min(len(place.cores) for place in places):
        advice = f"ranks share cores: expected srun {_ASKED_CORES} --cpu-bind=cores, or fewer ranks"
        return Finding("threads", text, advice=advice)
    if len(own) * threads * 2 < granted:
        advice = f"expected --ntasks-per-node times --cpus-per-task to be the job's {granted} cores"
        return Finding("threads", text, advice=advice)
    return Finding("threads", text)


def _gpus(places: Sequence[Place], environment: Environment) -> Iterator[Finding]:
    """Report which GPU each rank takes; ranks of a node take them in turn."""
    node = _number(environment, "SLURM_GPUS_ON_NODE") or 0
    asked = node or any(environment.get(name, "0") not in ("", "0") for name in _GPUS)
    if not asked and not any(place.gpus for place in places):
        return
    bare = next((rank for rank, own in enumerate(places) if own.computes and not own.gpus), None)
    if bare is not None:
        text = f"GPUs were asked for, but rank {bare} on {places[bare].host} sees none"
        advice = "expected srun --gpus-per-node=N, and CUDA_VISIBLE_DEVICES left alone"
        yield Finding("gpus", text, advice=advice)
        return
    taken: dict[str, Counter[str]] = {}
    seen: dict[str, set[str]] = {}
    for place in places:
        if place.computes:
            on_node = taken.setdefault(place.host, Counter())
            on_node[place.gpus[sum(on_node.values()) % len(place.gpus)]] += 1
            seen.setdefault(place.host, set()).update(place.gpus)
    host = max(taken, key=lambda own: max(taken[own].values()))
    count, most = max(node, len(seen[host])), max(taken[host].values())
    ranks = "1 rank" if taken[host].total() == 1 else f"{taken[host].total()} ranks"
    text = f"{ranks} on {host} with {len(taken[host])} of {count} GPUs"
    wanted = count + (not places[0].computes)
    advice = ""
    if not is_gpu_build():
        advice = "this Aer is for CPUs: install hpcq[gpu], or ask for no GPUs"
    elif most > 1 and len(taken[host]) < count:
        advice = f"{most} share one: expected --gpus-per-node={count}, without --gpu-bind"
    elif most > 1:
        advice = f"{most} share one: --ntasks-per-node={wanted} gives each its own"
    elif len(taken[host]) < count and (len(places) > 1 or is_launched(environment)):
        advice = f"{count - len(taken[host])} idle: expected --ntasks-per-node={wanted}"
    yield Finding("gpus", text, advice=advice)


def _time(environment: Environment) -> Finding:
    left = slurm_seconds_left(environment)
    if left is None:
        return Finding("time", "no end of the job is known: `hpcq run --time-limit` sets one")
    text = f"{max(left, 0.0):.0f} s left"
    if left < _SHORT_SECONDS:
        return Finding("time", text, advice="hardly enough to begin: expected a longer --time")
    return Finding("time", f"{text}; hpcq stops before, all saved")


def _files(places: Sequence[Place], own: Sequence[str]) -> Finding:
    """Tell whether the current folder does what runs rely on, on all nodes."""
    folder = trying.within(os.getcwd, "?")
    kind = trying.kind_of(folder)
    text = printable_path(folder) + (f" ({_shown(kind)})" if kind else "")
    faults = list(own)
    for rank, place in enumerate(places):
        faults += [f"rank {rank} on {place.host}: {fault}" for fault in place.faults]
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        advice = "expected a folder that all nodes share"
        if "flock" in faults[0]:
            advice = "HDF5_USE_FILE_LOCKING=FALSE goes without; one job at a time then"
        return Finding("files", f"{text}: {faults[0]}{more}", advice=advice)
    return Finding("files", f"{text}: exclusive create, rename and flock work")


def _under_srun(places: Sequence[Place], environment: Environment) -> bool:
    """Whether srun started the ranks; mpirun starts with it no more than one daemon a node."""
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS")
    return tasks is not None and tasks in (len(places), launched_size(environment))


def _number(environment: Environment, name: str) -> int | None:
    value = environment.get(name, "")
    return int(value) if re.fullmatch("[0-9]{1,9}", value) else None


def _shown(text: str) -> str:
    """Return a variable's value fit for one line."""
    return printable_path(text)[:80]


def _ranges(numbers: Sequence[int]) -> str:
    """Write numbers as SLURM does: 0-3,8."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)[:80]
