"""Fields of objects in HDF5 files, each declared once, with its path, its type and its check.

A dataclass declares its fields by :func:`stored`, and a :class:`Layout` writes and reads them.
Classes of lower layers, which know nothing of files, get a layout that declares their fields.

A path is relative to the object's group: ``a/b`` is a dataset or a group, ``a/b@c`` an attribute of
it, and ``*`` stands for the numbers 0, 1, 2, ... of the entries of a sequence. A path that starts
with a slash begins at the root of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from types import SimpleNamespace
from typing import Any, TypeVar, dataclass_transform

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Place:
    """Where a value is written or read.

    Any other attribute is looked up in the object that holds the value, then in the objects around
    it, so that declarations can say ``len(at.names)``. While an object is being read, it has only
    the fields that are declared before the current one.

    Attributes:
        owner: The object that holds the value.
        group: Group of the object: of h5py for writing, a PlainGroup for reading.
        outer: Place of the object in the one around it; None for the outermost.
        path: Path in the group; empty for the group itself.
        attribute: Name of an attribute of the group or dataset at the path; empty if the value is
            the group or dataset itself.
        index: Number of the value, or of the object, in its sequence.
    """

    owner: Any
    group: Any
    outer: Place | None = None
    path: str = ""
    attribute: str = ""
    index: int = 0

    def __getattr__(self, name: str) -> Any:
        is_here = self.outer is None or hasattr(self.owner, name)
        return getattr(self.owner if is_here else self.outer, name)

    @property
    def entry(self) -> Any:
        """The group or dataset at the path."""
        return self.group[self.path] if self.path else self.group

    @property
    def is_taken(self) -> bool:
        """Whether the file has a group, dataset or attribute at this place."""
        exists = not self.path or self.path in self.group
        return exists and (not self.attribute or self.attribute in self.entry.attrs)


class Codec:
    """How a value is written and read; by default in one dataset or attribute.

    Args:
        encode: Returns what h5py writes, given the value and the place.
        decode: Returns the value, given an attribute or a dataset of h5py, and the place; raises
            any error if no run writes such content.
    """

    def __init__(
        self,
        encode: Callable[[Any, Place], Any] = lambda value, _: value,
        decode: Callable[[Any, Place], Any] = lambda entry, _: entry[()],
    ) -> None:
        self._encode, self._decode = encode, decode

    def write(self, value: Any, at: Place) -> None:
        """Write a value."""
        encoded = self._encode(value, at)
        if not at.attribute:
            at.group[at.path] = encoded
            return
        if at.path and at.path not in at.group:
            at.group.create_group(at.path)
        at.entry.attrs[at.attribute] = encoded

    def read(self, at: Place) -> Any:
        """Return the value."""
        return self._decode(at.entry.attrs[at.attribute] if at.attribute else at.entry, at)


@dataclass(frozen=True, eq=False)
class StoredField:
    """The declaration of a field; a field whose value is None is not written.

    Attributes:
        path: Path of the field, relative to the group of its object.
        attribute: Name of the field as an attribute at the path; empty for a dataset or a group.
        codec: How the field is written and read, or a function that returns the codec.
        default: The value if the field is absent in the file; MISSING if it must be there.
        value: Returns the value to write; None for the object's attribute of the field's name.
        check: Returns the fault of a value that was read, for a message; empty if there is none.
        gaps: Whether entries of a sequence may be absent; they are None.
        is_read: False for a field that follows from others, and is written only for readers without
            hpcq.
    """

    path: str
    attribute: str
    codec: Codec | Callable[[Place], Codec]
    default: Any
    value: Callable[[Place], Any] | None = None
    check: Callable[[Any, Place], str] = lambda _value, _at: ""
    gaps: bool = False
    is_read: bool = True

    def write(self, name: str, at: Place) -> None:
        """Write the field of an object, by its name."""
        value = getattr(at.owner, name) if self.value is None else self.value(at)
        if value is not None:
            self._write(value, replace(at, path=self.path, attribute=self.attribute))

    def _write(self, value: Any, at: Place) -> None:
        head, star, tail = at.path.partition("*")
        if not star:
            self._codec(at).write(value, at)
            return
        if self.is_read and self.default is MISSING:
            at.group.require_group(head.rstrip("/"))
        written: dict[int, str] = {}
        for number, entry in enumerate(tuple(value)):
            here = replace(at, path=f"{head}{number}{tail}", index=number)
            if id(entry) in written:  # equal subcircuits share their tensor, also in the file
                at.group[here.path] = at.group[written[id(entry)]]
            elif entry is not None:
                self._write(entry, here)
                if isinstance(entry, np.ndarray) and not at.attribute:
                    written[id(entry)] = here.path

    def read(self, at: Place) -> Any:
        """Return the field of an object; raise any error if no run writes such content."""
        here = replace(at, path=self.path, attribute=self.attribute)
        value = self._read(here)
        if value is None and self.default is not MISSING:
            return self.default
        if problem := self.check(value, here):
            raise ValueError(problem)
        return value

    def _read(self, at: Place) -> Any:
        head, star, tail = at.path.partition("*")
        folder = replace(at, path=head.rstrip("/"), attribute="") if star else at
        may_be_absent = self.gaps if "*" in self.path and not star else self.default is not MISSING
        if may_be_absent and not folder.is_taken:
            return None
        if not star:
            return self._codec(at).read(at)
        places = (replace(at, path=f"{head}{n}{tail}", index=n) for n in range(len(folder.entry)))
        return tuple(self._read(place) for place in places)

    def _codec(self, at: Place) -> Codec:
        return self.codec if isinstance(self.codec, Codec) else self.codec(at)


def stored(
    path: str,
    codec: Codec | Callable[[Place], Codec],
    value: Callable[[Place], Any] | None = None,
    *,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    **more: Any,
) -> Any:
    """Return a dataclass field that is stored in files; see :class:`StoredField`."""
    name, _, attribute = path.partition("@")
    absent = default if default_factory is MISSING else default_factory()
    declared = StoredField(name, attribute, codec, absent, value, **more)
    return field(default=default, default_factory=default_factory, metadata={"stored": declared})


def derived(path: str, value: Callable[[Place], Any] | None = None, codec: Any = None) -> Any:
    """Return a field that is written but not read; see :class:`StoredField`."""
    return stored(path, codec or Codec(), value, is_read=False)


def computed(value: Callable[[Place], Any]) -> Any:
    """Return a field that is not written, but computed from the fields that are read."""
    return stored("", Codec(decode=lambda _, at: value(at)), lambda _: None)


@dataclass_transform(field_specifiers=(stored, computed), frozen_default=True, eq_default=False)
def stored_class(owner: type[T]) -> type[T]:
    """Make a class a frozen dataclass, whose fields :func:`stored` declares."""
    return dataclass(frozen=True, eq=False)(owner)


class Layout(Codec):
    """Codec of an object as a group, by the declarations of its fields.

    Args:
        owner: Class of the object; its constructor takes the fields of the class.
        more: Fields that the class does not declare itself, as :func:`stored` returns them.

    Attributes:
        fields: The declarations by name, in the order in which fields are written and read.
    """

    def __init__(self, owner: type, **more: Any) -> None:
        members = {member.name: member for member in fields(owner)} if is_dataclass(owner) else more
        self._owner, self._names = owner, set(members)
        declared = {name: m for name, m in members.items() if "stored" in m.metadata} | more
        self.fields = {name: member.metadata["stored"] for name, member in declared.items()}

    def write(self, value: Any, at: Place) -> None:
        """Write the fields of an object."""
        group = at.group.require_group(at.path) if at.path else at.group
        for name, declared in self.fields.items():
            declared.write(name, Place(value, group, at, index=at.index))

    def read(self, at: Place) -> Any:
        """Return the object."""
        inner = Place(SimpleNamespace(), at.entry, at, index=at.index)
        for name, declared in self.fields.items():
            if declared.is_read:
                setattr(inner.owner, name, declared.read(inner))
        return self._owner(**{k: v for k, v in vars(inner.owner).items() if k in self._names})
