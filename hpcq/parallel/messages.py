"""Messages between the ranks of one job: pickles with their arrays out of band.

Files never hold pickles: HDF5, JSON and QPY only.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import struct
from typing import Any

_LENGTH = struct.Struct("<Q")


def dumps(value: Any) -> bytes:
    """Return an object as bytes: its pickle, followed by the contents of its arrays.

    A dataclass is sent by the fields that its constructor takes, without cached properties.
    """
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(value)
    parts = [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]
    lengths = [_LENGTH.pack(part.nbytes) for part in parts]
    return b"".join([_LENGTH.pack(len(parts)), *lengths, *parts])


def loads(message: bytes) -> Any:
    """Return the object that :func:`dumps` turned into a message.

    Its arrays are views of the message, and therefore read-only.
    """
    view = memoryview(message)
    (num_parts,) = _LENGTH.unpack_from(view)
    start = _LENGTH.size * (1 + num_parts)
    parts = []
    for index in range(num_parts):
        (length,) = _LENGTH.unpack_from(view, _LENGTH.size * (1 + index))
        parts.append(view[start : start + length])
        start += length
    return pickle.loads(parts[0], buffers=parts[1:])


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            return NotImplemented
        if "__reduce__" in vars(type(value)):
            return NotImplemented
        fields = (field for field in dataclasses.fields(value) if field.init)
        return type(value), tuple(getattr(value, field.name) for field in fields)
