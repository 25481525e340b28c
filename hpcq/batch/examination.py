"""What a SLURM allocation gives to ranks, and what in the job script to change."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.engines.gpus import visible_cards
from hpcq.files import printable_path
from hpcq.machine import slurm_seconds_left, usable_cores

if TYPE_CHECKING:
    from hpcq.farm.serial import Farm

_SHORT_SECONDS = 60.0


@dataclass(frozen=True)
class Rank:
    """What one rank sees.

    Attributes:
        host: Its host.
        cores: Numbers of the cores that it may run on.
        cards: Names of the GPUs that it may use.
    """

    host: str
    cores: tuple[int, ...]
    cards: tuple[str, ...]


def ranks_of(farm: Farm) -> list[Rank]:
    """Ask all ranks what they see; an empty list elsewhere than on rank 0."""
    own = [socket.gethostname(), sorted(usable_cores()), visible_cards()]
    return [
        Rank(host, tuple(cores), tuple(cards))
        for host, cores, cards in map(json.loads, farm.names(json.dumps(own)))
    ]


def placing(ranks: Sequence[Rank], environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Say where the ranks are, what cores and cards each has, and what to change.

    Args:
        ranks: All ranks.
        environment: That of rank 0.

    Yields:
        What was looked at, and what was found.
    """
    if not ranks:
        return
    hosts = Counter(rank.host for rank in ranks)
    counts = sorted(set(hosts.values()))
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    yield "ranks", f"{len(ranks)} on {len(hosts)} hosts, {each} each"
    yield "binding", _binding(ranks, environment)
    if cards := _number(environment, "SLURM_GPUS_ON_NODE"):
        yield "cards", _cards(ranks, cards)


def _binding(ranks: Sequence[Rank], environment: Mapping[str, str]) -> str:
    fewest = min(len(rank.cores) for rank in ranks)
    most = max(len(rank.cores) for rank in ranks)
    asked = _number(environment, "SLURM_CPUS_PER_TASK")
    text = f"{fewest} cores a rank" if fewest == most else f"{fewest} to {most} cores a rank"
    if asked and fewest < asked:
        return f"{text}, {asked} were asked for: srun --cpus-per-task=$SLURM_CPUS_PER_TASK"
    first = [set(rank.cores) for rank in ranks if rank.host == ranks[0].host]
    together = len(set().union(*first))
    if len(first) > together:
        return (
            f"{text}, but {len(first)} ranks on {together} cores of {ranks[0].host}: fewer "
            "--ntasks-per-node"
        )
    if len(first) > 1 and sum(map(len, first)) > together:
        return f"{text}, shared with other ranks: threads are divided; srun --cpu-bind=cores"
    return text


def _cards(ranks: Sequence[Rank], cards: int) -> str:
    seen = {rank.host: set[str]() for rank in ranks}
    for rank in ranks:
        seen[rank.host].update(rank.cards)
    fewest = min(len(own) for own in seen.values())
    if fewest == 0:
        return (
            f"{cards} on each node, and a rank sees none: no --gpu-bind=none, and CUDA's driver "
            "must be on the node"
        )
    computing = Counter(rank.host for rank in ranks)
    computing[ranks[0].host] -= max(computing.values()) > cards  # one schedules
    busiest = max(computing.values())
    text = f"{fewest} of {cards} seen on each node, {busiest} ranks take them in turn"
    if busiest > cards:
        return f"{text}: at most {cards} ranks a node, and one more on the first (gpus.sbatch)"
    return f"{text}; {cards - busiest} are left over" if busiest < cards else text


def ending(environment: Mapping[str, str]) -> str:
    """Say when the allocation ends."""
    left = slurm_seconds_left(environment)
    if left is None:
        return "SLURM does not say when the job ends: give --time-limit to hpcq run"
    text = f"{left / 60:.0f} min left; a run saves and stops by itself before that"
    return text if left > _SHORT_SECONDS else f"{left:.0f} s left: give the job more --time"


def files(folder: Path) -> tuple[str, bool]:
    """Try what outputs and jobs that share a result need of a file system.

    Args:
        folder: Where to try.

    Returns:
        What was found, and whether all is well.
    """
    shown = printable_path(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".hpcq-doctor-", dir=folder) as place:
            own, other = Path(place) / "a", Path(place) / "b"
            own.touch(exist_ok=False)
            try:
                own.touch(exist_ok=False)
                return f"{shown}: two jobs can create one file: --shared is not safe here", False
            except FileExistsError:
                pass
            other.write_text("b")
            other.replace(own)
            if own.read_text() != "b" or other.exists():
                return f"{shown}: renaming does not replace: outputs are not safe here", False
            return f"{shown}: exclusive creation, atomic renaming{_locks(own)}", True
    except OSError as error:
        return f"{shown}: cannot be written: {error.strerror}", True


def _locks(file: Path) -> str:
    try:
        with file.open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return "; no locks (none are needed)"
    return ", locks"


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 9 else 0


def here() -> tuple[str, bool]:
    """Try the folder of this process."""
    return files(Path(os.curdir).absolute())
