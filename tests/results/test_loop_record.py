"""The evaluations of loops in files: what no loop writes is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpcq
from hpcq.core.errors import InputError
from hpcq.results.loop_record import LoopRecord
from hpcq.results.result import Result
from tests.loop.problems import plan


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Result:
    path = tmp_path_factory.mktemp("loops") / "o.h5"
    hpcq.minimize(plan(), x0=0.3, max_evaluations=3, output=path)
    return hpcq.load(path)


def with_record(result: Result, **changes: Any) -> Result:
    assert result.details is not None
    record = result.details.section(LoopRecord)
    assert record is not None
    details = replace(result.details, sections=(replace(record, **changes),))
    return replace(result, details=details)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"starts": np.array([0, 0, 1])}, "starts that are not there"),
        ({"starts": np.array([0, -1, 0])}, "starts that are not there"),
        ({"values": np.zeros(4)}, "expected 3 numbers"),
        ({"parameters": np.zeros((3, 9))}, "expected 3 x 10 numbers"),
        ({"gradients": np.zeros((2, 10))}, "expected 3 x 10 numbers"),
        ({"initial": np.zeros(10)}, "expected any x any numbers"),
    ],
)
def test_evaluations_that_do_not_fit_together_are_refused(
    changes: dict[str, Any], message: str, stored: Result, tmp_path: Path
) -> None:
    with_record(stored, **changes).save(tmp_path / "o.h5")
    with pytest.raises(InputError, match=message):
        hpcq.load(tmp_path / "o.h5")


@pytest.mark.parametrize(
    "loop", ["text", {"optimizer": "SPSA"}, {"evaluations": "3"}, {"message": 3}, {"more": 1}]
)
def test_an_account_that_no_loop_writes_is_refused(
    loop: Any, stored: Result, tmp_path: Path
) -> None:
    known = stored.provenance["loop"]
    wrong = loop if isinstance(loop, str) else {**known, **loop}
    if loop == {"optimizer": "SPSA"}:
        del wrong["evaluations"]
    replace(stored, provenance={**stored.provenance, "loop": wrong}).save(tmp_path / "o.h5")
    with pytest.raises(InputError, match="provenance: loop is"):
        hpcq.load(tmp_path / "o.h5")
