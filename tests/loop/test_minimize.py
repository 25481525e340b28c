"""Loops take the steps of scipy on the uncut energy, and go on bit for bit after a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize

import hpcq
from hpcq.core.errors import InputError, StoppedError
from hpcq.loop.optimizers import OPTIMIZERS, Optimizer
from hpcq.results.loop_record import LoopRecord
from tests.loop.problems import ENERGY, ansatz, at_evaluation, energy, gradient, plan, x0

SHORT = {"cut_labels": "AABB", "threads": 1, "memory": 1 << 30, "checkpoint_seconds": 1e-6}


def record(path: Path) -> LoopRecord:
    details = hpcq.load(path).details
    found = None if details is None else details.section(LoopRecord)
    assert found is not None
    return found


class PowerFailureError(Exception):
    """Ends a loop at some evaluation."""


def fail_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have evaluation of this number fail, and those before and after work."""

    def fail() -> None:
        raise PowerFailureError

    at_evaluation(number, fail, monkeypatch.setattr)


def check_same_steps(steps: np.ndarray, plain: list[np.ndarray]) -> None:
    """Compare trajectories until rounding errors have grown, and not beyond."""
    count = min(len(steps), len(plain))
    np.testing.assert_allclose(steps[:count], plain[:count], atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "limit"), [("L-BFGS-B", None), ("COBYLA", 40), ("SLSQP", None)]
)
def test_the_trajectory_is_that_of_scipy_on_the_uncut_energy(
    optimizer: str, limit: int | None, tmp_path: Path
) -> None:
    limits = {} if limit is None else {"maxiter": limit}
    found = hpcq.minimize(
        plan(), x0=x0(), optimizer=optimizer, options=limits, output=tmp_path / "o.h5"
    )
    points: list[np.ndarray] = []

    def value(x: np.ndarray) -> Any:
        points.append(x.copy())
        return energy(x) if optimizer == "COBYLA" else (energy(x), gradient(x))

    with_gradient = True if optimizer != "COBYLA" else None
    plain = scipy.optimize.minimize(
        value, x0(), method=optimizer, jac=with_gradient, options=limits
    )
    steps = record(tmp_path / "o.h5").parameters
    check_same_steps(steps, points[:25])
    assert found.fun == pytest.approx(plain.fun, abs=1e-8)
    assert found.evaluations == len(steps)
    assert found.parameters == {f"theta[{n}]": value for n, value in enumerate(found.x)}
    assert energy(found.x) == pytest.approx(found.fun, abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "SPSA"])
def test_a_loop_that_failed_goes_on_with_the_same_bits(
    optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, how = plan(), {"optimizer": optimizer, "x0": x0(), "max_evaluations": 30}
    paths = tmp_path / "whole.h5", tmp_path / "broken.h5"
    whole = hpcq.minimize(made, output=paths[0], **how)
    for number in (7, 9):
        with monkeypatch.context() as patch:
            fail_at(number, patch)
            with pytest.raises(PowerFailureError):
                hpcq.minimize(made, output=paths[1], **how)
    assert len(record(paths[1]).values) == 14
    assert hpcq.load(paths[1]).status == "partial"
    broken = hpcq.minimize(made, output=paths[1], **how)
    assert broken.fun == whole.fun
    assert broken.message == whole.message
    np.testing.assert_array_equal(broken.x, whole.x)
    first, second = map(record, paths)
    np.testing.assert_array_equal(first.parameters, second.parameters)
    np.testing.assert_array_equal(first.values, second.values)
    if first.gradients is not None:
        np.testing.assert_array_equal(first.gradients, second.gradients)


@pytest.mark.slow
def test_a_complete_file_holds_the_minimum_and_is_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "o.h5"
    found = hpcq.minimize(ansatz(), ENERGY, x0(), output=path, max_evaluations=15, **SHORT)
    result = hpcq.load(path)
    assert result.status == "complete"
    assert result.expectation_values.tolist() == [[found.fun]]
    assert result.parameters is not None
    np.testing.assert_array_equal(result.parameters.values, [found.x])
    assert result.provenance["loop"]["gradient_norm"] == pytest.approx(np.linalg.norm(found.jac))
    written = path.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        fail_at(1, patch)
        again = hpcq.minimize(ansatz(), ENERGY, x0(), output=path, max_evaluations=15, **SHORT)
    np.testing.assert_array_equal(again.x, found.x)
    assert path.stat().st_mtime_ns == written
    longer = hpcq.minimize(ansatz(), ENERGY, x0(), output=path, max_evaluations=20, **SHORT)
    assert longer.evaluations == 20
    np.testing.assert_array_equal(record(path).parameters[14], result_of_step(14))


def result_of_step(number: int) -> np.ndarray:
    """Parameters of an evaluation of a loop that nothing has stopped."""
    points: list[np.ndarray] = []
    program = plan().compile()

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        points.append(x.copy())
        values, gradients = program.values_and_gradients(x)
        return float(values[0, 0]), gradients[0, 0]

    Optimizer("L-BFGS-B", {"maxfun": number + 1}).minimize(value, x0(), np.random.default_rng(0))
    return points[number]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"optimizer": "COBYLA"}, "optimizer was L-BFGS-B and is COBYLA"),
        ({"x0": x0(1)}, "x0 differs"),
        ({"starts": 2}, "starts"),
        ({"options": {"maxcor": 5}}, r'options was {} and is {"maxcor": 5}'),
        ({"bounds": [(-3, 3)] * 10}, "bounds"),
        ({"tol": 1e-3}, "tol was default and is 0.001"),
        ({"observable": "Z0 Z1"}, "observables differ"),
        ({"cut_labels": "AAAB"}, "cuts differ"),
    ],
)
def test_another_loop_is_named_and_refused(
    change: dict[str, Any], named: str, finished: Path
) -> None:
    before = finished.read_bytes()
    how = {"ansatz": ansatz(), "observable": ENERGY, "x0": x0(), "max_evaluations": 3, **SHORT}
    with pytest.raises(InputError, match=r"output: a minimization of another run .*" + named):
        hpcq.minimize(output=finished, **{**how, **change})
    assert finished.read_bytes() == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("loops") / "o.h5"
    hpcq.minimize(ansatz(), ENERGY, x0(), output=path, max_evaluations=3, **SHORT)
    return path


@pytest.mark.slow
def test_another_scipy_and_another_kind_of_file_are_refused(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"x0": x0(), "max_evaluations": 3}
    with monkeypatch.context() as patch:
        patch.setattr("hpcq.loop.optimizers.scipy_version", "0.9.0")
        with pytest.raises(InputError, match=r"scipy was \S+ and is 0\.9\.0"):
            hpcq.minimize(plan(), output=finished, **how)
    bound = ansatz().assign_parameters(x0())
    hpcq.run(bound, ENERGY, output=tmp_path / "run.h5", **{**SHORT, "device": "cpu"})
    with pytest.raises(InputError, match="output: it holds a result that is not a minimization"):
        hpcq.minimize(plan(), output=tmp_path / "run.h5", **how)
    with pytest.raises(InputError, match="output: a result of another run"):
        hpcq.run(plan(), parameter_values=x0(), output=finished)


def test_stored_parameters_that_the_optimizer_does_not_ask_for_are_refused(
    finished: Path, tmp_path: Path
) -> None:
    result = hpcq.load(finished)
    assert result.details is not None
    (held,) = (part for part in result.details.sections if isinstance(part, LoopRecord))
    held.parameters[2, 5] += 1e-12
    result.save(tmp_path / "o.h5")
    with pytest.raises(InputError, match=r"evaluation 2 of start 0, L-BFGS-B asks for .* 1e-12"):
        hpcq.minimize(plan(), x0=x0(), max_evaluations=3, output=tmp_path / "o.h5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observable": ["Z0", "Z1"]}, "observable: 2 observables, expected one; a weighted sum"),
        ({"ansatz": ansatz().assign_parameters(x0())}, "ansatz: it has no free parameters"),
        ({"optimizer": "dogleg"}, "optimizer: 'dogleg', expected one of L-BFGS-B"),
        ({"x0": [1.0, 2.0]}, "x0: shape"),
        ({"x0": np.zeros((2, 10))}, "x0: 2 rows for 1 starts"),
        ({"x0": {"theta": [0.0] * 9}}, "x0: row 0: theta is 9 values"),
        ({"starts": 0}, "starts: '0'"),
        ({"max_evaluations": 0}, "max_evaluations: '0'"),
        ({"tol": -1.0}, "tol: '-1.0'"),
        ({"bounds": [(0, 1)]}, "bounds: 1 pairs, expected 10"),
        ({"bounds": [(1, 0)] * 10}, "bounds: pair 0 is (1, 0"),
        ({"bounds": [(0, np.nan)] * 10}, "bounds: pair 0 is (0, nan"),
        ({"bounds": [(np.inf, None)] * 10}, "bounds: pair 0 is (inf, inf"),
        ({"bounds": [(0, 10**400)] * 10}, "bounds: "),
        ({"bounds": 3}, "bounds: 3"),
        ({"x0": 10**400}, "x0: 1000"),
        ({"tol": 10**400}, "tol: '1000"),
        ({"callback": 3, "optimizer": "SPSA"}, "callback: '3', expected a function"),
        ({"output": "o" * 300}, "output: cannot write"),
        ({"options": {"nonsense": 1}}, "options: nonsense, expected options of L-BFGS-B"),
        ({"options": {"maxiter": "many"}}, "options: maxiter is 'many'"),
        ({"options": {"ftol": np.nan}}, "options: ftol is nan"),
        (
            {"options": {"gtol": [1, 2]}},
            r'options: {"gtol": \[1, 2]}: .* refuses these or bounds',
        ),
        ({"optimizer": "SPSA", "options": {"ftol": 1}}, "options: 'ftol' with SPSA"),
        ({"optimizer": "SPSA", "options": {"first_step": -1}}, "options: first_step: -1"),
        ({"optimizer": "SPSA", "tol": 1e-3}, "tol: 0.001 with SPSA"),
        ({"optimizer": "BFGS", "bounds": [(0, 1)] * 10}, "bounds: given with BFGS"),
        ({"options": {"f": print}}, "options: f is a builtin"),
        ({"parameter_values": [[0.0]]}, "parameter_values: given to hpcq.minimize"),
        ({"shared": True}, "shared: given to hpcq.minimize"),
        ({"noise": "fake_brisbane"}, "noise"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Any], message: str) -> None:
    how = {"ansatz": ansatz(), "observable": ENERGY, "x0": x0(), **SHORT}
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        hpcq.minimize(**{**how, **change})


def test_something_else_than_an_ansatz_is_named() -> None:
    with pytest.raises(InputError, match="ansatz: a str, expected a circuit or"):
        hpcq.minimize("c.qpy")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"minimize\(\) got an unexpected .* 'max_qubit'"):
        hpcq.minimize(ansatz(), ENERGY, max_qubit=3)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_whatever_a_callback_raises_is_raised_and_evaluations_are_saved(
    error: type[BaseException], tmp_path: Path
) -> None:
    def fail(_: object) -> None:
        raise error

    how = {"x0": x0(), "bounds": [(-3, 3)] * 10, "output": tmp_path / "o.h5"}
    with pytest.raises(error):
        hpcq.minimize(plan(), callback=fail, **how)
    assert hpcq.load(tmp_path / "o.h5").status == "partial"
    assert hpcq.minimize(plan(), max_evaluations=4, **how).evaluations == 4


def test_x0_is_a_number_a_mapping_or_random_and_the_best_start_is_returned(tmp_path: Path) -> None:
    made = plan(seed=5)
    by_number = hpcq.minimize(made, x0=0.5, max_evaluations=2)
    assert hpcq.minimize(made, x0=np.float32(0.5), max_evaluations=2).fun == by_number.fun
    by_name = hpcq.minimize(made, x0={"theta": [0.5] * 10}, max_evaluations=2)
    assert by_number.fun == by_name.fun
    found = hpcq.minimize(made, x0=0.5, starts=3, max_evaluations=4, output=tmp_path / "o.h5")
    held = record(tmp_path / "o.h5")
    assert held.initial[0].tolist() == [0.5] * 10
    assert (np.abs(held.initial[1:]) <= np.pi).all()
    assert np.unique(held.initial).size == 21
    assert [result.start for result in found.starts] == [0, 1, 2]
    assert found.fun == min(result.fun for result in found.starts)
    assert held.starts.tolist() == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.slow
def test_bounds_callbacks_and_tolerances_reach_scipy() -> None:
    seen: list[np.ndarray] = []
    found = hpcq.minimize(
        plan(), x0=0.1, bounds=[(-0.2, 0.2)] * 10, tol=1e-3, callback=lambda x: seen.append(x)
    )
    assert (np.abs(found.x) <= 0.2).all()
    assert len(seen) == found.nit
    assert hpcq.minimize(plan(), x0=0.1, tol=1e-10).evaluations > found.evaluations

    def stop(_: object) -> None:
        raise StopIteration

    assert hpcq.minimize(plan(), x0=0.1, callback=stop).nit == 1


@pytest.mark.slow
def test_a_time_limit_stops_the_loop_with_everything_saved(tmp_path: Path) -> None:
    path, made = tmp_path / "o.h5", plan()
    how = {"x0": x0(), "optimizer": "Powell", "max_evaluations": 2000}
    with pytest.raises(
        StoppedError, match=r"stopped, because .* evaluations? are saved in .*o\.h5"
    ):
        hpcq.minimize(made, output=path, time_limit=0.55, **how)
    saved = record(path)
    assert 0 < len(saved.values) < 2000
    assert hpcq.load(path).status == "partial"


def test_spsa_descends_and_keeps_to_its_bounds() -> None:
    found = hpcq.minimize(plan(), x0=0.5, optimizer="spsa", options={"maxiter": 60})
    assert found.fun < energy(np.full(10, 0.5)) - 0.5
    assert found.evaluations == 2 * 10 + 2 * 60 + 1
    bounded = hpcq.minimize(
        *(plan(), None, 0.1), optimizer="SPSA", bounds=[(0, 0.2)] * 10, options={"maxiter": 20}
    )
    assert ((bounded.x >= 0) & (bounded.x <= 0.2)).all()


@pytest.mark.slow
def test_a_loop_with_shots_goes_on_with_the_same_shots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpcq.kinds.shots.program import ShotsProgram

    sampled, paths = plan(shots=4000), (tmp_path / "whole.h5", tmp_path / "broken.h5")
    how = {"x0": 0.5, "starts": 2, "options": {"maxiter": 2, "calibrations": 1}, "device": "cpu"}
    whole = hpcq.minimize(sampled, output=paths[0], **how)
    estimate, left = ShotsProgram.estimate, 9

    def failing(program: ShotsProgram, rows: Any, *, gradients: bool = True) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise PowerFailureError
        return estimate(program, rows, gradients=gradients)

    with monkeypatch.context() as patch:
        patch.setattr(ShotsProgram, "estimate", failing)
        with pytest.raises(PowerFailureError):
            hpcq.minimize(sampled, output=paths[1], **how)
    broken = hpcq.minimize(sampled, output=paths[1], **how)
    first, second = map(record, paths)
    assert len(first.values) == 14
    assert (first.standard_errors > 0).all()
    assert len(np.unique(first.values)) > 10
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.parameters, second.parameters)
    assert (broken.fun, broken.standard_error) == (whole.fun, whole.standard_error)
    assert energy(whole.x) == pytest.approx(whole.fun, abs=6 * whole.standard_error)
