"""A job whose last rank fails in the middle of the work, started by tests/test_mpi.py."""

import time

import numpy as np
from mpi4py import MPI

from hpcq.farm.mpi import MpiFarm, ending_the_job

farm = MpiFarm(MPI.COMM_WORLD)
bad = farm.size - 1


def work(_task: int) -> np.ndarray:
    if farm.rank == bad:
        raise RuntimeError("the dog ate my amplitudes")
    time.sleep(0.05)
    return np.zeros(3, dtype=complex)


with ending_the_job(farm):
    farm.run([1.0] * 200, complex, work, lambda _done, _total: None)
