"""A job whose last rank fails outside its tasks; started by tests/mpi/test_launched_runs.py."""

from mpi4py import MPI

from hpcq.parallel.mpi import MpiFarm
from hpcq.parallel.world import abort_on_error
from tests.parallel.task_functions import by_name

farm = MpiFarm(MPI.COMM_WORLD)
with abort_on_error(farm):
    if farm.rank == farm.size - 1:
        raise RuntimeError("the dog ate my amplitudes")
    if farm.rank > 0:
        farm.run_worker(by_name)
    else:
        with farm.coordinator(by_name) as coordinator:
            coordinator.prepare(b"plain", in_subprocess=False)
