"""Messages between the ranks of one job: pickles with their arrays out of band.

Files never hold pickles: HDF5, JSON and QPY only.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import pickle
import struct
from typing import Any

from hpcq.parallel.object_store import ObjectStore

_LENGTH = struct.Struct("<Q")


def dumps(value: Any, store: ObjectStore | None = None) -> bytes:
    """Return an object as bytes: its pickle, followed by the contents of its arrays.

    A dataclass is sent by the fields that its constructor takes, without cached properties.

    Args:
        value: The object.
        store: Objects that the receivers hold already. Parts of the object that have a
            ``message_key`` and are among these are sent as their keys; the others are added.
    """
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    _Pickler(stream, buffers, store).dump(value)
    if store is not None:
        store.trim()
    parts = [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]
    lengths = [_LENGTH.pack(part.nbytes) for part in parts]
    return b"".join([_LENGTH.pack(len(parts)), *lengths, *parts])


def loads(message: bytes, store: ObjectStore | None = None) -> Any:
    """Return the object that :func:`dumps` turned into a message.

    Its arrays are views of the message, and therefore read-only.

    Args:
        message: The message.
        store: The receiver's store, if the sender used one; all messages of that sender that used
            it must be loaded with it, in order.
    """
    view = memoryview(message)
    (num_parts,) = _LENGTH.unpack_from(view)
    start = _LENGTH.size * (1 + num_parts)
    parts = []
    for index in range(num_parts):
        (length,) = _LENGTH.unpack_from(view, _LENGTH.size * (1 + index))
        parts.append(view[start : start + length])
        start += length
    value = _Unpickler(io.BytesIO(parts[0]), parts[1:], store).load()
    if store is not None:
        store.trim()
    return value


class _Pickler(pickle.Pickler):
    def __init__(
        self, stream: io.BytesIO, buffers: list[pickle.PickleBuffer], store: ObjectStore | None
    ) -> None:
        super().__init__(stream, protocol=5, buffer_callback=buffers.append)
        self._store = store

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type) or not dataclasses.is_dataclass(value):
            return NotImplemented
        if self._store is not None and hasattr(type(value), "message_key"):
            return self._reduce_once(value, self._store)
        if "__reduce__" in vars(type(value)):
            return NotImplemented
        fields = [field for field in dataclasses.fields(value) if field.init]
        by_name = {field.name: getattr(value, field.name) for field in fields if field.kw_only}
        owner: Any = type(value)
        make = functools.partial(owner, **by_name) if by_name else owner
        return make, tuple(getattr(value, field.name) for field in fields if not field.kw_only)

    @staticmethod
    def _reduce_once(value: Any, store: ObjectStore) -> Any:
        key = value.message_key
        if key in store:
            store.use(key)
            return _from_store, (key, b"")
        message = dumps(value)
        store.add(key, value, len(message))
        return _from_store, (key, message)


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, stream: io.BytesIO, buffers: list[memoryview], store: ObjectStore | None
    ) -> None:
        super().__init__(stream, buffers=buffers)
        self._store = store

    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name == _from_store.__name__:
            return self._restore
        return super().find_class(module, name)

    def _restore(self, key: Any, message: bytes) -> Any:
        assert self._store is not None, "the sender used a store"
        if not message:
            return self._store.use(key)
        value = loads(message)
        self._store.add(key, value, len(message))
        return value


def _from_store(key: Any, message: bytes) -> Any:
    """Stand in pickles for what :class:`_Unpickler` does instead."""
    raise AssertionError(f"{key}, {len(message)}: only _Unpickler loads messages")
