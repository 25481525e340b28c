"""What ranks say together where they refuse."""

from __future__ import annotations

import json

from hpcq.job.together import _joint_refusal


def test_the_same_reasons_are_said_once_and_none_is_lost() -> None:
    said = [("", "a", "")] * 3 + [("input", "b", "no card")] * 15 + [("", "c", "")]
    said += [("dependency", "d", "no Aer"), ("input", "e", "no card"), ("", "e", "")]
    kind, text = _joint_refusal([json.dumps(own) for own in said])
    assert kind == "input"
    assert text == "ranks 3-17, 20 on b, e: no card; rank 19 on d: no Aer"
    assert _joint_refusal([json.dumps(("input", "a", "wrong"))] * 4) == (
        "input",
        "wrong (all 4 ranks)",
    )
