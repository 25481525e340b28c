"""Which GPU a rank takes, what it holds, and whether the installed Aer leaves the rank alone."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import distributions
from importlib.util import find_spec
from mmap import ACCESS_READ, mmap
from pathlib import Path

from hpcq.core.errors import InputError

_VARIABLE = "CUDA_VISIBLE_DEVICES"
_DEVICES = Path("/dev")
_PROC = Path("/proc/driver/nvidia/gpus")
_CARD = re.compile(r"(GPU-|MIG-|(?=[0-9]+$))[0-9A-Za-z/-]+")
_QUERY = ("--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits")
# Open MPI, MPICH, Intel, Cray, Spectrum; a repaired wheel puts a hash after the name.
_MPI = re.compile(rb"libmpi(ch)?(cxx)?(_\w+)?[-.]")
_LOAD, _DYNAMIC, _NEEDED, _STRTAB = 1, 2, 1, 5  # of ELF: PT_, PT_, DT_, DT_


def visible_gpus(
    environment: Mapping[str, str] = os.environ, devices: Path = _DEVICES, proc: Path = _PROC
) -> tuple[str, ...]:
    """The cards that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    The variable decides where it is set, read as CUDA reads it: an entry that names no card (-1,
    ``NoDevFiles``) or names it in another way than the first hides itself and all after it, and
    a card named twice hides all. Otherwise the device files that may be opened are counted, or
    where there are none the driver's entries; CUDA numbers cards from 0, whatever the files'
    names.
    """
    if _VARIABLE not in environment:
        files = [file for file in _entries(devices) if re.fullmatch("nvidia[0-9]+", file.name)]
        cards = [file for file in files if os.access(file, os.R_OK | os.W_OK)]
        return tuple(map(str, range(len(cards if files else _entries(proc)))))
    named: list[re.Match[str]] = []
    for entry in environment[_VARIABLE].split(","):
        card = _CARD.fullmatch(entry.strip())
        if not card or (named and card[1] != named[0][1]):
            break
        named.append(card)
    names = tuple(card[0] for card in named)
    return names if len(set(names)) == len(names) else ()


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def pick_gpu(local_rank: int, cards: Sequence[str]) -> str | None:
    """The card of a rank, in turn by its number on the node; None where there is no card."""
    return cards[local_rank % len(cards)] if cards else None


def assign_gpu(
    local_rank: int | None,
    environment: MutableMapping[str, str] = os.environ,
    devices: Path = _DEVICES,
    proc: Path = _PROC,
) -> str | None:
    """Pick this process's card and hide the others from CUDA; call it before Aer is imported.

    A card that the launcher bound to this rank alone is kept, whatever the rank's number; so a
    second call changes nothing. Where there is no card, the environment is left as it is.
    None for the rank, one that only schedules, hides all cards.
    """
    if local_rank is None:
        environment[_VARIABLE] = ""
        return None
    card = pick_gpu(local_rank, visible_gpus(environment, devices, proc))
    if card is not None:
        environment[_VARIABLE] = card
    return card


def ranks_sharing(local_ranks: int, cards: int) -> int:
    """How many of a node's ranks share its busiest card, taken in turn; 0 without cards.

    Where each rank is bound to its own card, that is 1: count all cards, not what a rank sees.
    """
    return -(-local_ranks // cards) if cards > 0 else 0


def _run(command: Sequence[str]) -> str:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True, timeout=10
    ).stdout


def gpu_memory(card: str, ask: Callable[[Sequence[str]], str] = _run) -> int | None:
    """Free bytes of a card's memory; None where ``nvidia-smi``, run by ``ask``, doesn't tell.

    None for a MIG slice, too: ``nvidia-smi`` is asked about whole cards only.
    """
    if card.startswith("MIG-"):
        return None
    try:
        total, free = map(int, ask(["nvidia-smi", *_QUERY, "-i", card]).split(","))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return min(total, free) << 20 if total > 0 <= free else None


def aer_is_mpi_build(package: Path | None = None) -> bool:
    """Say whether the Aer in a folder, or else the installed one, is linked with MPI.

    It is not loaded. False where there is none, or none in a 64-bit little-endian ELF file.
    """
    if package is None:
        spec = find_spec("qiskit_aer")
        if spec is None or spec.origin is None:
            return False
        package = Path(spec.origin).parent
    # In the order in which an import tries them.
    libraries = [package / f"backends/controller_wrappers{end}" for end in EXTENSION_SUFFIXES]
    return next((_links_mpi(library) for library in libraries if library.exists()), False)


def check_aer_build(
    environment: Mapping[str, str] = os.environ, package: Path | None = None
) -> None:
    """Refuse an Aer that was built with MPI; before it is imported, for that starts MPI.

    Raises:
        InputError: If it is one, and ``HPCQ_AER_MPI=1`` is not in the environment.
    """
    if environment.get("HPCQ_AER_MPI") != "1" and aer_is_mpi_build(package):
        raise InputError(
            "qiskit-aer: it is built with MPI and splits one simulation over all ranks, which "
            "deadlocks when ranks run different circuits; expected an Aer without MPI (AER_MPI "
            "off), or HPCQ_AER_MPI=1 to use it all the same"
        )


def _links_mpi(library: Path) -> bool:
    """Go through the libraries that an ELF file needs; a name elsewhere in it is no link."""
    try:
        with library.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            if data[:6] != b"\x7fELF\x02\x01":
                return False
            table, step, count = struct.unpack_from("<32xQ14xHH", data)
            places = range(table, table + step * count, step)
            segments = [struct.unpack_from("<I4xQQ8xQ", data, place) for place in places]
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


def is_gpu_build() -> bool:
    """Whether the installed Aer is built for GPUs, by the name of its package."""
    names = {own.name.lower().replace("_", "-") for own in distributions()}
    return any(name.startswith("qiskit-aer-gpu") for name in names)
