"""Checks of a batch job: the resources of its ranks, and what to change in its script."""

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
    number_in,
    slurm_seconds_left,
    usable_cores,
)
from hpcq.core.text import number_ranges
from hpcq.doctor import filesystem_checks as filesystem
from hpcq.doctor import srun_mpi as mpi_plugins
from hpcq.doctor.finding import Finding
from hpcq.engines.gpu import is_gpu_build, visible_gpus
from hpcq.parallel.serial import Farm, SerialFarm
from hpcq.parallel.world import abort_on_error, open_farm
from hpcq.planning.description import count_text

_MIN_SECONDS_LEFT = 60.0
"""Remaining seconds below which a run would do almost nothing before it stops."""

_GPU_VARIABLES = ("SLURM_GPUS", "SLURM_GPUS_PER_NODE", "SLURM_GPUS_PER_TASK", "SLURM_JOB_GPUS")
_CPUS_PER_TASK = "--cpus-per-task=$SLURM_CPUS_PER_TASK"

Environment = Mapping[str, str]


@dataclass(frozen=True)
class RankResources:
    """The resources of one rank.

    Attributes:
        host: Name of the node.
        cores: Cores that the rank may run on.
        threads: The rank's share of the node's cores.
        gpus: GPUs that the rank may use, by names that are equal on all ranks of a node.
        computes: Whether the rank computes; False if it only schedules.
        faults: File system operations that fail on the rank.
    """

    host: str
    cores: Sequence[int]
    threads: int
    gpus: Sequence[str]
    computes: bool
    faults: Sequence[str]


def examine_batch(environment: Environment = os.environ) -> list[Finding]:
    """Check the batch system and the ranks. Collective; findings are returned on rank 0."""
    try:
        farm = open_farm()
    except HpcqError:
        farm = SerialFarm()  # which another check reports; each process checks its own resources
    with abort_on_error(farm):
        resources, faults = _gather_resources(farm, environment)
    if farm.rank > 0 or launched_rank(environment) > 0:
        return []
    if "SLURM_JOB_ID" not in environment:
        return [_slurm_outside_job(), _check_files(resources, faults)]
    return [
        _slurm_job(environment),
        _check_launch(resources, environment),
        _check_binding(resources, environment),
        _check_threads(resources, environment),
        *_check_gpus(resources, environment),
        _check_time(environment),
        _check_files(resources, faults),
    ]


def _gather_resources(
    farm: Farm, environment: Environment
) -> tuple[list[RankResources], tuple[str, ...]]:
    """Return all ranks' resources, and file system operations that fail on rank 0. Collective."""
    trial = filesystem.start_trial() if farm.rank == 0 else filesystem.FilesystemTrial()
    try:
        folder = os.fsdecode(farm.broadcast(os.fsencode(trial.folder)))
        other = folder and farm.rank > 0 and not trial.faults
        rank = RankResources(
            _host(environment),
            sorted(usable_cores()),
            farm.local_resources()[0],
            _comparable_gpus(visible_gpus(environment), environment),
            farm.computes,
            filesystem.check_from_here(folder) if other else [],
        )
        gathered = farm.gather_names(f"{rank.host} {json.dumps(asdict(rank))}")
    finally:
        trial.end()
    return [RankResources(**json.loads(text.partition(" ")[2])) for text in gathered], trial.faults


def _host(environment: Environment) -> str:
    """Return the node's name: SLURM's, unless its variable is inherited from another process."""
    name = environment.get("SLURMD_NODENAME", "")
    if environment.get("SLURM_TASK_PID") != str(os.getpid()) or not name:
        name = socket.gethostname().partition(".")[0]
    return re.sub(r"[^0-9A-Za-z_.-]", "?", name) or "?"


def _comparable_gpus(gpus: Sequence[str], environment: Environment) -> list[str]:
    """Return names of GPUs that ranks can compare; two ranks' GPU 0 may be different GPUs."""
    if not gpus or not shutil.which("nvidia-smi"):
        has_own_gpus = "SLURM_GPUS_PER_TASK" in environment
        local_rank = environment.get("SLURM_LOCALID", "") if has_own_gpus else ""
        return [f"{local_rank}/{gpu}" if local_rank else gpu for gpu in gpus]
    output = mpi_plugins.command_output(["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"])
    known = {str(index): line.strip() for index, line in enumerate(output.splitlines())}
    return [known.get(gpu, gpu) for gpu in gpus]


def _slurm_outside_job() -> Finding:
    if shutil.which("sbatch") is None:
        return Finding("slurm", "none")
    output = mpi_plugins.command_output(["sinfo", "--noheader", "--format=%P"], 3.0)
    found = re.search(r"^(\S+)\*\s*$", output, re.MULTILINE)
    default = f"default partition {_shown(found[1])}" if found else "no default partition"
    return Finding("slurm", f"{_version()}, {default if output else 'its controller is silent'}")


def _slurm_job(environment: Environment) -> Finding:
    job, nodes = environment["SLURM_JOB_ID"], environment.get("SLURM_JOB_NODELIST", "?")
    return Finding("slurm", f"{_version()}, in job {_shown(job)} on {_shown(nodes)}")


def _version() -> str:
    for command in ("srun", "sbatch", "sinfo"):
        output = mpi_plugins.command_output([command, "--version"], 3.0)
        if found := re.search(r"[0-9]+\.[0-9]+(\.[0-9]+)?", output):
            return f"SLURM {found[0]}"
    return "SLURM of unknown version"


def _check_launch(resources: Sequence[RankResources], environment: Environment) -> Finding:
    """Report the MPI, the nodes of its ranks, and how srun has to start them."""
    loaded = sys.modules.get("mpi4py.MPI")
    text = loaded.Get_library_version() if loaded else mpi_plugins.library_version()
    mpi = " ".join(mpi_plugins.mpi_flavour(text)) or "no MPI that is known here"
    plugin = mpi_plugins.suitable_plugin(text, mpi_plugins.list_plugins())
    used = _shown(environment.get("SLURM_MPI_TYPE", ""))
    if used and _is_started_by_srun(resources, environment):
        mpi += f", srun --mpi={used}"
    requested = " " + _CPUS_PER_TASK if number_in(environment, "SLURM_CPUS_PER_TASK") else ""
    start = "its own mpirun: no --mpi fits"
    if plugin:
        start = f"`srun --mpi={plugin}{requested} hpcq ...`"
    started = launched_size(environment)
    if len(resources) == 1 and started > 1:
        text = f"{mpi}: {started} worlds of one rank each; start with {start}"
        return Finding("launch", text, ok=False)
    tasks = number_in(environment, "SLURM_NTASKS") or 1
    if len(resources) == 1 and tasks > 1:
        return Finding("launch", f"{mpi}: one rank here, and room for {tasks}, with {start}")
    nodes = Counter(rank.host for rank in resources).items()
    shown = ", ".join(f"{count} on {host}" for host, count in list(nodes)[:4])
    more = f", and {len(nodes) - 4} more nodes" if len(nodes) > 4 else ""
    return Finding("launch", f"{mpi}: {count_text(len(resources), 'rank')}, {shown}{more}")


def _check_binding(resources: Sequence[RankResources], environment: Environment) -> Finding:
    rank_0, requested = resources[0], number_in(environment, "SLURM_CPUS_PER_TASK")
    text = f"rank 0 may run on cores {_shown_cores(rank_0.cores)}"
    text += f", asked for {requested} per rank" if requested else ""
    few = requested or 0
    too_few = [number for number, rank in enumerate(resources) if len(rank.cores) < few]
    if not too_few or not is_launched(environment):
        return Finding("binding", text)
    smallest = resources[too_few[0]]
    cure = f"srun {_CPUS_PER_TASK} (not inherited from sbatch since SLURM 22.05)"
    if not _is_started_by_srun(resources, environment):
        cure = "mpirun --bind-to none (Open MPI), -bind-to none (MPICH)"
    if too_few[0]:
        text += f"; rank {too_few[0]} only on {_shown_cores(smallest.cores)}"
    return Finding("binding", text, advice=f"expected {cure}")


def _check_threads(resources: Sequence[RankResources], environment: Environment) -> Finding:
    """Compare the threads of ranks with the cores of rank 0's node."""
    host = resources[0].host
    on_host = [rank for rank in resources if rank.host == host]
    threads = min(rank.threads for rank in resources)
    union = {core for rank in on_host for core in rank.cores}
    text = f"{threads} each for {count_text(len(on_host), 'rank')} on {host}"
    text += f", of {count_text(len(union), 'core')}"
    requested = number_in(environment, "SLURM_CPUS_PER_TASK")
    granted = min(number_in(environment, "SLURM_CPUS_ON_NODE") or 0, os.cpu_count() or 1)
    advice = ""
    if not is_launched(environment):
        pass
    elif requested and threads < requested <= min(len(rank.cores) for rank in resources):
        advice = (
            f"ranks share cores: expected srun {_CPUS_PER_TASK} --cpu-bind=cores, or fewer ranks"
        )
    elif len(on_host) * threads * 2 < granted:
        advice = f"expected --ntasks-per-node times --cpus-per-task to be the job's {granted} cores"
    return Finding("threads", text, advice=advice)


def _check_gpus(resources: Sequence[RankResources], environment: Environment) -> Iterator[Finding]:
    """Report the GPU of each rank; the ranks of a node take its GPUs in turn."""
    node = number_in(environment, "SLURM_GPUS_ON_NODE") or 0
    requested = node or any(environment.get(name, "0") not in ("", "0") for name in _GPU_VARIABLES)
    if not requested and not any(rank.gpus for rank in resources):
        return
    for number, rank in enumerate(resources):
        if rank.computes and not rank.gpus:
            text = f"GPUs were asked for, but rank {number} on {rank.host} sees none"
            advice = "expected srun --gpus-per-node=N, and CUDA_VISIBLE_DEVICES left alone"
            yield Finding("gpus", text, advice=advice)
            return
    ranks_per_gpu: dict[str, Counter[str]] = {}
    visible: dict[str, set[str]] = {}
    for rank in resources:
        if rank.computes:
            on_node = ranks_per_gpu.setdefault(rank.host, Counter())
            on_node[rank.gpus[sum(on_node.values()) % len(rank.gpus)]] += 1
            visible.setdefault(rank.host, set()).update(rank.gpus)
    host = max(ranks_per_gpu, key=lambda name: max(ranks_per_gpu[name].values()))
    count, max_sharing = max(node, len(visible[host])), max(ranks_per_gpu[host].values())
    ranks, used = count_text(ranks_per_gpu[host].total(), "rank"), len(ranks_per_gpu[host])
    text = f"{ranks} on {host} with {used} of {count} GPUs"
    wanted_ranks = count + (not resources[0].computes)
    advice = ""
    if not is_gpu_build():
        advice = "this Aer is for CPUs: install hpcq[gpu], or ask for no GPUs"
    elif max_sharing > 1 and used < count:
        advice = f"{max_sharing} share one: expected --gpus-per-node={count}, without --gpu-bind"
    elif max_sharing > 1:
        advice = f"{max_sharing} share one: --ntasks-per-node={wanted_ranks} gives each its own"
    elif used < count and (len(resources) > 1 or is_launched(environment)):
        advice = f"{count - used} idle: expected --ntasks-per-node={wanted_ranks}"
    yield Finding("gpus", text, advice=advice)


def _check_time(environment: Environment) -> Finding:
    seconds_left = slurm_seconds_left(environment)
    if seconds_left is None:
        return Finding("time", "no end of the job is known: `hpcq run --time-limit` sets one")
    text = f"{max(seconds_left, 0.0):.0f} s left"
    if seconds_left < _MIN_SECONDS_LEFT:
        return Finding("time", text, advice="hardly enough to begin: expected a longer --time")
    return Finding("time", f"{text}; hpcq stops before, all saved")


def _check_files(resources: Sequence[RankResources], local_faults: Sequence[str]) -> Finding:
    """Report whether the operations that runs need work in the current folder on all nodes."""
    folder = filesystem.call_within(os.getcwd, "?")
    kind = filesystem.filesystem_type(folder)
    text = printable_path(folder) + (f" ({_shown(kind)})" if kind else "")
    faults = list(local_faults)
    for number, rank in enumerate(resources):
        faults += [f"rank {number} on {rank.host}: {fault}" for fault in rank.faults]
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        advice = "expected a folder that all nodes share"
        if "flock" in faults[0]:
            advice = "HDF5_USE_FILE_LOCKING=FALSE goes without; one job at a time then"
        return Finding("files", f"{text}: {faults[0]}{more}", advice=advice)
    return Finding("files", f"{text}: exclusive create, rename and flock work")


def _is_started_by_srun(resources: Sequence[RankResources], environment: Environment) -> bool:
    """Whether srun started the ranks; under mpirun it starts at most one daemon on each node."""
    tasks = number_in(environment, "SLURM_STEP_NUM_TASKS")
    return tasks is not None and tasks in (len(resources), launched_size(environment))


def _shown(text: str) -> str:
    """Return a printable text of a variable's value, at most 80 characters long."""
    return printable_path(text)[:80]


def _shown_cores(cores: Sequence[int]) -> str:
    """Return the text of a list of cores in SLURM's format, such as ``0-3,8``."""
    return number_ranges(cores, ",")[:80]
