"""Run by ``mpirun -n N python -m mpi4py -m pytest --with-mpi``; see test_launched_runs.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpcq
from hpcq.core.errors import InputError, StoppedError
from hpcq.results.loop_record import LoopRecord
from tests.loop.problems import plan, x0

pytestmark = pytest.mark.mpi(min_size=2)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have turns of few evaluations, and spread every evaluation of a single start."""
    monkeypatch.setattr("hpcq.loop.turns._TURN_SECONDS", 2e-3)
    monkeypatch.setattr("hpcq.loop.turns._REPLAY_FACTOR", 0.0)
    monkeypatch.setattr("hpcq.kinds.parameters.spread._MIN_SPREAD_SECONDS", 0.0)


def evaluations(path: Path) -> list[np.ndarray]:
    details = hpcq.load(path).details
    record = None if details is None else details.section(LoopRecord)
    assert record is not None
    return [record.starts, record.parameters, record.values, record.standard_errors]


def check_same_alone(found: Any, path: Path, made: hpcq.Plan, **how: Any) -> None:
    """Compare a loop of all ranks, on rank 0, with that of this rank alone."""
    from mpi4py import MPI

    other = path.with_name("alone.h5")
    alone = hpcq.minimize(made, comm=MPI.COMM_SELF, output=other, **how)
    np.testing.assert_array_equal(found.x, alone.x)
    assert (found.fun, found.start, found.message) == (alone.fun, alone.start, alone.message)
    assert [each.fun for each in found.starts] == [each.fun for each in alone.starts]
    for one, many in zip(evaluations(other), evaluations(path), strict=True):
        np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize(("starts", "options"), [(1, {}), (5, {"optimizer": "COBYLA"})])
def test_a_loop_has_the_bits_of_one_rank_and_goes_on_with_them(
    starts: int, options: dict[str, Any], tmp_path: Path
) -> None:
    from mpi4py import MPI

    path = MPI.COMM_WORLD.bcast(tmp_path / "out.h5")
    how = {"starts": starts, "x0": x0(), **options}
    made = plan() if MPI.COMM_WORLD.rank == 0 else None
    hpcq.minimize(made, output=path, max_evaluations=4, **how)
    found = hpcq.minimize(made, output=path, max_evaluations=14, **how)
    everywhere = MPI.COMM_WORLD.allgather((found.fun, found.x.tobytes(), found.start))
    assert len(set(everywhere)) == 1
    if made is not None:
        assert np.bincount(evaluations(path)[0]).tolist() == [14] * starts
        check_same_alone(found, path, made, max_evaluations=14, **how)


def test_starts_with_shots_have_the_bits_of_one_rank(tmp_path: Path) -> None:
    from mpi4py import MPI

    path = MPI.COMM_WORLD.bcast(tmp_path / "out.h5")
    how = {"starts": 3, "options": {"maxiter": 1, "calibrations": 1}, "device": "cpu"}
    made = plan(shots=3000) if MPI.COMM_WORLD.rank == 0 else None
    found = hpcq.minimize(made, output=path, **how)
    assert found.standard_error > 0
    if made is not None:
        check_same_alone(found, path, made, **how)


def test_a_session_minimises_and_all_ranks_raise_what_is_wrong() -> None:
    with hpcq.Session() as session:
        if session.rank == 0:
            found = hpcq.minimize(plan(), x0=0.3, starts=3, max_evaluations=5)
            assert len(found.starts) == 3
            with pytest.raises(InputError, match="x0: shape"):
                hpcq.minimize(plan(), x0=[0.3])
    with pytest.raises(InputError, match="optimizer: 'newton'"):
        hpcq.minimize(plan(), x0=0.3, optimizer="newton")
    with pytest.raises(InputError, match="ansatz: it has no free parameters"):
        hpcq.minimize(None if session.rank else bound_plan(), x0=0.3)


def test_a_time_limit_stops_all_ranks_with_everything_saved(tmp_path: Path) -> None:
    from mpi4py import MPI

    path = MPI.COMM_WORLD.bcast(tmp_path / "out.h5")
    made = plan() if MPI.COMM_WORLD.rank == 0 else None
    endless = {"xatol": 1e-300, "fatol": 1e-300, "maxiter": 10**9, "maxfev": 10**9}
    how = {"starts": 4, "x0": x0(), "optimizer": "Nelder-Mead", "options": endless}
    with pytest.raises(StoppedError, match=r"time limit of 3 s is near: .* are saved in"):
        hpcq.minimize(made, output=path, time_limit=3, **how)
    if made is not None:
        assert hpcq.load(path).status == "partial"
        assert len(np.unique(evaluations(path)[0])) == 4


def bound_plan() -> hpcq.Plan:
    from tests.loop.problems import ENERGY, ansatz

    return hpcq.plan(ansatz().assign_parameters(x0()), ENERGY, cut_labels="AABB", threads=1)
