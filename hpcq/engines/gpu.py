"""Assign GPUs to ranks, read their memory, and refuse an Aer that is built with MPI."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import distributions
from importlib.util import find_spec
from mmap import ACCESS_READ, mmap
from pathlib import Path

from hpcq.core.errors import InputError

_VARIABLE = "CUDA_VISIBLE_DEVICES"
_DEVICES = Path("/dev")
_PROC = Path("/proc/driver/nvidia/gpus")
_GPU_NAME = re.compile(r"(GPU-|MIG-|(?=[0-9]+$))[0-9A-Za-z/-]+")
_QUERY = ("--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits")
# Open MPI, MPICH, Intel, Cray, Spectrum; auditwheel adds a hash to the names of bundled libraries.
_MPI = re.compile(rb"libmpi(ch)?(cxx)?(_\w+)?[-.]")
_LOAD, _DYNAMIC, _NEEDED, _STRTAB = 1, 2, 1, 5  # ELF: PT_LOAD, PT_DYNAMIC, DT_NEEDED, DT_STRTAB


def visible_gpus(
    environment: Mapping[str, str] = os.environ, devices: Path = _DEVICES, proc: Path = _PROC
) -> tuple[str, ...]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    Where the variable is set, it decides, read as CUDA reads it: an entry that names no GPU (-1,
    ``NoDevFiles``) or that uses another form of name than the first entry hides itself and all
    entries after it; a GPU named twice hides all. Where it is not set, the device files that this
    process may open are counted, or the driver's entries if there are no device files. CUDA
    numbers GPUs from 0, whatever the files' names.
    """
    if _VARIABLE not in environment:
        files = [file for file in _entries(devices) if re.fullmatch("nvidia[0-9]+", file.name)]
        gpus = [file for file in files if os.access(file, os.R_OK | os.W_OK)]
        return tuple(map(str, range(len(gpus if files else _entries(proc)))))
    named: list[re.Match[str]] = []
    for entry in environment[_VARIABLE].split(","):
        gpu = _GPU_NAME.fullmatch(entry.strip())
        if not gpu or (named and gpu[1] != named[0][1]):
            break
        named.append(gpu)
    names = tuple(gpu[0] for gpu in named)
    return names if len(set(names)) == len(names) else ()


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def pick_gpu(local_rank: int, gpus: Sequence[str]) -> str | None:
    """Return the GPU of a rank: a node's ranks take its GPUs in turn; None without GPUs."""
    return gpus[local_rank % len(gpus)] if gpus else None


def assign_gpu(
    local_rank: int | None,
    environment: MutableMapping[str, str] = os.environ,
    devices: Path = _DEVICES,
    proc: Path = _PROC,
) -> str | None:
    """Pick this process's GPU and hide the others from CUDA; call it before Aer is imported.

    A GPU that the launcher bound to this rank alone is kept, whatever the rank's number, so a
    second call changes nothing. Without GPUs the environment is left as it is. Pass None as the
    local rank of a process that only schedules, and all GPUs are hidden from it.
    """
    if local_rank is None:
        environment[_VARIABLE] = ""
        return None
    gpu = pick_gpu(local_rank, visible_gpus(environment, devices, proc))
    if gpu is not None:
        environment[_VARIABLE] = gpu
    return gpu


def ranks_sharing(local_ranks: int, gpus: int) -> int:
    """Return how many of a node's ranks share its busiest GPU; 0 without GPUs.

    Pass the number of all GPUs of the node: a rank that is bound to a GPU sees only that one.
    """
    return -(-local_ranks // gpus) if gpus > 0 else 0


def _run(command: Sequence[str]) -> str:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True, timeout=10
    ).stdout


def gpu_memory(gpu: str, run: Callable[[Sequence[str]], str] = _run) -> int | None:
    """Return the free bytes of a GPU's memory, or None if ``nvidia-smi`` does not report them.

    MIG slices give None too, because ``nvidia-smi`` reports the memory of whole GPUs only.
    ``run`` runs the command and returns what it prints.
    """
    if gpu.startswith("MIG-"):
        return None
    try:
        total, free = map(int, run(["nvidia-smi", *_QUERY, "-i", gpu]).split(","))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return min(total, free) << 20 if total > 0 <= free else None


def aer_is_mpi_build(package: Path | None = None) -> bool:
    """Whether the Aer in a folder, or by default the installed one, is linked with MPI.

    Aer is not loaded. The answer is False if there is no Aer, or if its library is not a 64-bit
    little-endian ELF file.
    """
    if package is None:
        spec = find_spec("qiskit_aer")
        if spec is None or spec.origin is None:
            return False
        package = Path(spec.origin).parent
    # An import tries the suffixes in this order.
    libraries = [package / f"backends/controller_wrappers{end}" for end in EXTENSION_SUFFIXES]
    return next((_links_mpi(library) for library in libraries if library.exists()), False)


def check_aer_build(
    environment: Mapping[str, str] = os.environ, package: Path | None = None
) -> None:
    """Refuse an Aer that is built with MPI; call it before Aer is imported, which starts MPI.

    Raises:
        InputError: If Aer is built with MPI and ``HPCQ_AER_MPI`` is not 1 in the environment.
    """
    if environment.get("HPCQ_AER_MPI") != "1" and aer_is_mpi_build(package):
        raise InputError(
            "qiskit-aer: it is built with MPI and splits one simulation over all ranks, which "
            "deadlocks when ranks run different circuits; expected an Aer without MPI (AER_MPI "
            "off), or HPCQ_AER_MPI=1 to use it anyway"
        )


def _links_mpi(library: Path) -> bool:
    """Whether an ELF file needs an MPI library; its name elsewhere in the file does not count."""
    try:
        with library.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            if data[:6] != b"\x7fELF\x02\x01":
                return False
            table, step, count = struct.unpack_from("<32xQ14xHH", data)
            offsets = range(table, table + step * count, step)
            segments = [struct.unpack_from("<I4xQQ8xQ", data, offset) for offset in offsets]
            start, size = next((at, size) for kind, at, _, size in segments if kind == _DYNAMIC)
            dynamic = list(struct.iter_unpack("<qQ", data[start : start + size]))
            strings = next(value for tag, value in dynamic if tag == _STRTAB)
            loaded = (part for part in segments if part[0] == _LOAD)
            names = next(
                at + strings - base for _, at, base, size in loaded if base <= strings < base + size
            )
            needed = [data[names + at : names + at + 64] for tag, at in dynamic if tag == _NEEDED]
            return any(map(_MPI.match, needed))
    except (OSError, ValueError, struct.error, StopIteration):
        return False


@cache
def is_gpu_build() -> bool:
    """Whether the installed Aer is built for GPUs, by the name of its package."""
    names = {package.name.lower().replace("_", "-") for package in distributions()}
    return any(name.startswith("qiskit-aer-gpu") for name in names)
