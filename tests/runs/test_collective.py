"""The one error that all ranks raise together."""

from __future__ import annotations

import json

import pytest

from hpcq.core import errors
from hpcq.core.errors import HpcqError
from hpcq.jobs.slurm_backend import SlurmError
from hpcq.runs.collective import _join_errors, decode_result, encode_error

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HpcqError)
]


def test_equal_reasons_are_joined_and_none_is_lost() -> None:
    reports = [("", "a", "")] * 3 + [("InputError", "b", "no GPU")] * 15 + [("", "c", "")]
    reports += [
        ("MissingDependencyError", "d", "no Aer"),
        ("InputError", "e", "no GPU"),
        ("", "e", ""),
    ]
    kind, text = _join_errors([json.dumps(report) for report in reports])
    assert kind == "InputError"
    assert text == "ranks 3-17, 20 on b, e: no GPU; rank 19 on d: no Aer"
    assert _join_errors([json.dumps(("InputError", "a", "wrong"))] * 4) == (
        "InputError",
        "wrong (all 4 ranks)",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_rank_raises_what_rank_0_ends_with(kind: type[HpcqError]) -> None:
    with pytest.raises(HpcqError) as caught:
        decode_result(encode_error(kind("why: «it» ended")))
    assert type(caught.value) is kind
    assert str(caught.value) == "why: «it» ended"
    assert caught.value.exit_code == kind.exit_code
    assert caught.value.on_all_ranks, "or the rank would end the job"


def test_an_inner_error_is_raised_as_its_public_base_class() -> None:
    with pytest.raises(HpcqError, match="no answer") as caught:
        decode_result(encode_error(SlurmError("no answer")))
    assert type(caught.value) is HpcqError
