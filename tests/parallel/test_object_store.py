"""Objects that travel once: the receiver always holds what the sender believes that it holds."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpcq.parallel.messages import dumps, loads
from hpcq.parallel.object_store import ObjectStore


@dataclass(frozen=True, eq=False)
class Part:
    name: str
    data: NDArray[np.float64]

    @property
    def message_key(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Whole:
    parts: tuple[Part, ...]


def part(number: int) -> Part:
    return Part(f"part {number}", np.full(200 * (number + 1), float(number)))


def test_a_part_travels_once() -> None:
    sender, receiver = ObjectStore(), ObjectStore()
    whole = Whole((part(0), part(5), part(5)))
    first, second = dumps(whole, sender), dumps(whole, sender)
    assert len(second) < len(first) / 10
    received = loads(first, receiver)
    again = loads(second, receiver)
    assert all(a is b for a, b in zip(received.parts, again.parts, strict=True))
    np.testing.assert_array_equal(again.parts[1].data, whole.parts[1].data)


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=12), st.integers(0, 40_000))
def test_stores_hold_the_same_however_small_they_are(
    wholes: list[list[int]], max_bytes: int
) -> None:
    sender, receiver = ObjectStore(max_bytes), ObjectStore(max_bytes)
    for numbers in wholes:
        received = loads(dumps(Whole(tuple(map(part, numbers))), sender), receiver)
        assert [each.name for each in received.parts] == [f"part {n}" for n in numbers]
        assert [each.data[-1] for each in received.parts] == numbers
        held = [f"part {n}" for n in range(10)]
        assert [name in sender for name in held] == [name in receiver for name in held]


def test_without_a_store_everything_travels() -> None:
    whole = Whole((part(1), part(2)))
    assert [each.name for each in loads(dumps(whole)).parts] == ["part 1", "part 2"]
