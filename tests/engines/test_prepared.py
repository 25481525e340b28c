from __future__ import annotations

from dataclasses import dataclass

import pytest

from hpcq.engines import prepared
from hpcq.engines.prepared import PieceCache


@dataclass
class Item:
    memory_bytes: int


def test_the_least_recently_used_goes_when_pieces_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "MAX_PREPARED_BYTES", 100)
    kept: PieceCache[Item] = PieceCache()
    items = {name: kept.get(name, lambda: Item(30)) for name in "abc"}

    def is_kept(name: str) -> bool:
        found = kept.get(name, lambda: Item(30))
        known, items[name] = items[name], found
        return found is known

    assert is_kept("a")
    kept.get("d", lambda: Item(30))  # 120 bytes
    assert not is_kept("b")  # in the place of c
    assert not is_kept("c")  # in the place of a
    items["d"] = kept.get("d", lambda: Item(0))
    items["d"].memory_bytes = 90
    assert is_kept("d")  # alone
    assert not is_kept("b")
    items["b"].memory_bytes = 1000
    assert is_kept("b")


def test_a_piece_that_cannot_be_prepared_is_tried_again() -> None:
    kept: PieceCache[Item] = PieceCache()

    def fail() -> Item:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept.get("a", fail)
    item = kept.get("a", lambda: Item(1))
    assert kept.get("a", fail) is item
