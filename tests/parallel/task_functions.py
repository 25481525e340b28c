"""Task functions for tests of farms, in a module that worker subprocesses can import."""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np

from hpcq.parallel.tasks import Array, TaskFunction


def plain(task: int, payload: bytes) -> Array:
    return np.full(1 + task % 3, task + len(payload), dtype=float)


def failing(task: int, payload: bytes) -> Array:
    if task == 3:
        raise RuntimeError("the dog ate my amplitudes")
    return plain(task, payload)


def exiting(task: int, payload: bytes) -> Array:
    if task == 3:
        sys.exit("no licence")
    return plain(task, payload)


def dying(task: int, payload: bytes) -> Array:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(task, payload)


def slow(task: int, payload: bytes) -> Array:
    time.sleep(0.1)
    return plain(task, payload)


def large(task: int, _payload: bytes) -> Array:
    return np.full(3_000_000, task, dtype=float)


def by_name(payload: bytes) -> TaskFunction:
    """Return the task function with the name that is the payload."""
    functions = {each.__name__: each for each in (plain, failing, exiting, dying, slow, large)}
    return functions[payload.decode()]
