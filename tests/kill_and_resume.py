"""Kills runs at random moments and has them go on: ``python tests/kill_and_resume.py 100``.

A run is started on a random number of ranks, and a random rank, or all of the job, is killed at a
random moment; the same command then goes on on another number of ranks, until it is done. The
answer must be that of a run which nothing happened to, bit for bit, and nothing may be left behind.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.launch import environment, is_open_mpi, launcher

RANKS = (1, 2, 3, 5)
"""Numbers of ranks, of which one is drawn for each start."""

_TOKEN = "KILL_AND_RESUME_TOKEN"
_MAX_END_SECONDS = 10.0
"""Time in which every process of a killed job must be gone."""

_MAX_RUN_SECONDS = 120.0
"""Time in which a run that nothing happens to must end."""


def write_circuit(folder: Path, layers: int = 32, qubits: int = 14) -> list[str]:
    """Write a circuit of two halves, each of 136 tasks; return the arguments."""
    rng = random.Random(7)
    lines = [f'OPENQASM 2.0; include "qelib1.inc"; qreg q[{2 * qubits}];']
    for layer in range(layers):
        lines += [f"u3({rng.random()},{rng.random()},1) q[{q}];" for q in range(2 * qubits)]
        for start in (0, qubits):
            ends = range(start + layer % 2, start + qubits - 1, 2)
            lines += [f"cz q[{q}],q[{q + 1}];" for q in ends]
        if layer < 16 and layer % 4 == 1:
            lines.append(f"rzz(0.7) q[{qubits - 1 - layer // 4}],q[{qubits + layer // 4}];")
    path = folder / "circuit.qasm"
    path.write_text("\n".join(lines))
    partition = "A" * qubits + "B" * qubits
    asked = ("--observable", f"Z0 Z{2 * qubits - 1}", "--observable", f"X1 Y{qubits}")
    return [str(path), "--cut-labels", partition, *asked, "--memory", "1M", "--threads", "1"]


class Job:
    """A run under the launcher, known by a token in its environment."""

    def __init__(
        self, arguments: list[str], ranks: int, folder: Path, workers: str, *more: str
    ) -> None:
        self.token = uuid.uuid4().hex
        self.log = folder / f"log-{self.token}"
        prefix = [str(launcher()), "-n", str(ranks), *more]
        if is_open_mpi():
            prefix += ["--oversubscribe", "--bind-to", "none"]
        how = {_TOKEN: self.token, "HPCQ_CALIBRATION": "none", "HPCQ_WORKERS": workers}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*(prefix if ranks > 1 else []), sys.executable, "-m", "hpcq", "run", *arguments],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=environment(**how),
            )

    def members(self) -> dict[int, int | None]:
        """Return the processes that are left, and the rank of those that are one."""
        found: dict[int, int | None] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                variables = dict(
                    pair.split("=", 1)
                    for pair in (entry / "environ").read_text(errors="replace").split("\0")
                    if "=" in pair
                )
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                command = (entry / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if variables.get(_TOKEN) == self.token and state != "Z":
                rank = variables.get("PMI_RANK", variables.get("OMPI_COMM_WORLD_RANK"))
                is_rank = rank is not None and "hpcq" in command and "-n" not in command
                found[int(entry.name)] = int(rank) if is_rank and rank is not None else None
        return found

    def kill(self, chance: random.Random) -> str:
        """Kill a rank or the whole job; return which."""
        members = self.members()
        ranks = {rank: pid for pid, rank in members.items() if rank is not None}
        if ranks and chance.random() < 0.5:
            rank = chance.choice(sorted(ranks))
            victims, what = [ranks[rank]], "rank 0" if rank == 0 else "another rank"
        else:
            victims, what = list(members), "the whole job"
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return what

    def gone(self) -> float:
        """Wait until nothing is left of it; return the seconds that took."""
        begun = time.monotonic()
        while True:
            if self.process.poll() is not None and not self.members():
                return time.monotonic() - begun
            if time.monotonic() - begun > _MAX_END_SECONDS:
                left = self.members()
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                raise AssertionError(
                    f"{left} still there {_MAX_END_SECONDS} s later: {self.log.read_text()}"
                )
            time.sleep(0.02)


def value_of(output: Path) -> tuple[str, ...]:
    """Return the values of a complete file, bit for bit."""
    shown = subprocess.run(
        [sys.executable, "-m", "hpcq", "show", str(output), "--json"],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    result = json.loads(shown.stdout)
    assert result["status"] == "complete", result["status"]
    return tuple(map(float.hex, result["expectation_values"] + result["standard_errors"]))


def trials(kills: int, seed: int, arguments: list[str], folder: Path, longest: float) -> Counter:
    """Kill runs that many times; return what was killed, and in which state the file was.

    Args:
        kills: Number of kills.
        seed: Seed of all choices.
        arguments: Of ``hpcq run``.
        folder: For files.
        longest: Seconds after which a run is killed, at most.
    """
    chance = random.Random(seed)
    reference = folder / "reference.h5"
    whole = Job([*arguments, "-o", str(reference)], 1, folder, "thread")
    assert whole.process.wait(_MAX_RUN_SECONDS) == 0, whole.log.read_text()
    expected = value_of(reference)
    seen: Counter = Counter()
    done = trial = 0
    while done < kills:
        output = folder / f"out{trial}.h5"
        trial += 1
        resumable = [*arguments, "-o", str(output), "--checkpoint-seconds", "0.2"]
        for _ in range(chance.randint(1, 3)):
            workers = chance.choice(["thread", "process"])
            job = Job(resumable, chance.choice(RANKS), folder, workers)
            time.sleep(chance.uniform(0.1, longest))
            what = job.kill(chance)
            seconds = job.gone()
            done += 1
            seen[f"killed {what}"] += 1
            seen[f"file {'there' if output.exists() else 'not yet there'}"] += 1
            seen["slowest end, ms"] = max(seen["slowest end, ms"], int(1000 * seconds))
        last = Job(resumable, chance.choice(RANKS), folder, chance.choice(["thread", "process"]))
        last.process.wait(_MAX_RUN_SECONDS)
        found = value_of(output)
        assert found == expected, f"trial {trial}: {found}, expected {expected}"
        text = last.log.read_text()
        seen["resumed half way"] += "going on" in text
        seen["was complete"] += "is already complete" in text
        seen["same answers"] += 1
        left = [p for p in folder.glob(".hpcq-*") if p.stat().st_size == 0]
        assert not left, left
    return seen


if __name__ == "__main__":
    number, first = (int(word) for word in (*sys.argv[1:], *("100", "0")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as place:
        given = write_circuit(Path(place))
        begun = time.monotonic()
        for key, value in trials(number, first, given, Path(place), 5.0).items():
            print(f"{key:24} {value}")
        print(f"{time.monotonic() - begun:.0f} s")
