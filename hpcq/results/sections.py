"""Sections of a result file: what one kind of run stores besides values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from hpcq.results.hdf5_fields import Codec, Layout, Place

T = TypeVar("T")

_layouts: dict[type, tuple[str, Layout]] = {}
"""For each class of sections, its group in the file, and the layout of that group."""


def section(group: str) -> Callable[[type[T]], type[T]]:
    """Return a decorator of a class with declared fields: objects of it are sections of files.

    Args:
        group: The section's group in the file.
    """

    def register(owner: type[T]) -> type[T]:
        _layouts[owner] = group, Layout(owner)
        return owner

    return register


class _Sections(Codec):
    """All sections of a result; those of unknown classes are not read."""

    def write(self, value: tuple[Any, ...], at: Place) -> None:
        for part in value:
            group, layout = _layouts[type(part)]
            layout.write(part, replace(at, path=group))

    def read(self, at: Place) -> tuple[Any, ...]:
        places = [(layout, replace(at, path=group)) for group, layout in _layouts.values()]
        return tuple(layout.read(place) for layout, place in places if place.is_taken)


SECTIONS = _Sections()
