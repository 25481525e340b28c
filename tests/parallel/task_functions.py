"""Work for farms in tests; in a module of its own, so that worker processes can import it."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from hpcq.parallel.tasks import Array, TaskFunction


def plain(task: int, payload: bytes) -> Array:
    return np.full(1 + task % 3, task + len(payload), dtype=float)


def failing(task: int, payload: bytes) -> Array:
    if task == 3:
        raise RuntimeError("the dog ate my amplitudes")
    return plain(task, payload)


def dying(task: int, payload: bytes) -> Array:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(task, payload)


def slow(task: int, payload: bytes) -> Array:
    time.sleep(0.1)
    return plain(task, payload)


def large(task: int, _ticket: bytes) -> Array:
    return np.full(3_000_000, task, dtype=float)


def named(payload: bytes) -> TaskFunction:
    """Open the work whose name is shared."""
    works = {own.__name__: own for own in (plain, failing, dying, slow, large)}
    return works[payload.decode()]
