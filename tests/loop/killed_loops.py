"""Kills loops at random evaluations: ``python -m tests.loop.killed_loops 50``.

A process that is forked for each start of a loop kills itself by SIGKILL before a random
evaluation; the next one goes on with the file. A loop that has ended must have the trajectory of
one that nothing happened to, bit for bit.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np

import hpcq
from hpcq.results.loop_record import LoopRecord
from hpcq.runs import file_output
from tests.loop.problems import at_evaluation, plan, x0

OPTIMIZERS = ("L-BFGS-B", "COBYLA", "Nelder-Mead", "SPSA")
MAX_EVALUATIONS = 40


def start(made: hpcq.Plan, optimizer: str, output: Path, kill: int | None) -> bool:
    """Run a loop in a process of its own; return whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            if kill is not None:
                at_evaluation(kill, lambda: os.kill(os.getpid(), signal.SIGKILL))
            how = {"max_evaluations": MAX_EVALUATIONS, "checkpoint_seconds": 1e-6}
            hpcq.minimize(made, None, x0(), optimizer=optimizer, output=output, **how)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "a loop has failed"
    return False


def trajectory(path: Path) -> list[np.ndarray]:
    """Return all evaluations of a complete loop."""
    result = hpcq.load(path)
    assert result.details is not None
    assert result.status == "complete"
    record = result.details.section(LoopRecord)
    assert record is not None
    gradients = np.empty(0) if record.gradients is None else record.gradients
    return [record.parameters, record.values, gradients, result.expectation_values]


def main(loops: int, seed: int = 0) -> None:
    """Run a number of loops, each of which is killed at least twice, and compare trajectories."""
    file_output._MIN_PAUSE_FACTOR = 0.0
    rng, made, kills = random.Random(seed), plan(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(loops):
            optimizer = OPTIMIZERS[number % len(OPTIMIZERS)]
            whole, broken = folder / f"{optimizer}.h5", folder / f"{number}.h5"
            if not whole.exists():
                assert not start(made, optimizer, whole, None)
            half = len(trajectory(whole)[1]) // 2  # so that each loop is killed twice at least
            while start(made, optimizer, broken, rng.randint(1, half)):
                kills += 1
            for one, other in zip(trajectory(whole), trajectory(broken), strict=True):
                np.testing.assert_array_equal(one, other)
    print(f"{kills} kills, {loops} trajectories, all the same")


if __name__ == "__main__":
    main(int(sys.argv[1]))
