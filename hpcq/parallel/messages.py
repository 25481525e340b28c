"""What ranks of one job send each other, as bytes: pickles whose arrays are not copied.

Only ranks of one job exchange pickles; files hold HDF5, JSON and QPY.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import struct
from typing import Any

_LENGTH = struct.Struct("<Q")


def dumps(value: Any) -> bytes:
    """Return an object as bytes: its pickle, then the contents of its arrays.

    Of a dataclass only the fields travel, and not what it has cached.
    """
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(value)
    parts = [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]
    lengths = [_LENGTH.pack(part.nbytes) for part in parts]
    return b"".join([_LENGTH.pack(len(parts)), *lengths, *parts])


def loads(message: bytes) -> Any:
    """Return the object that :func:`dumps` was given.

    Its arrays are views of the message, and so cannot be written to.
    """
    view = memoryview(message)
    (number,) = _LENGTH.unpack_from(view)
    start = _LENGTH.size * (1 + number)
    parts = []
    for place in range(number):
        (length,) = _LENGTH.unpack_from(view, _LENGTH.size * (1 + place))
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
