"""Rows of values of free parameters, which a result holds with the values of observables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcq.results import hdf5_codecs as codecs
from hpcq.results.hdf5_fields import Codec, Place

_MAX_ARRAY_NAMES = 4000
"""Maximum number of names that a file holds as an array of strings, which is easiest to read. An
HDF5 attribute has 64 KiB, room for 4,095 strings; more names are one string of JSON."""


@dataclass(frozen=True, eq=False)
class ParameterRows:
    """Values of free parameters, in rows.

    Attributes:
        names: Names of the parameters.
        values: Their values, shape (rows, parameters).
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def to_json(self) -> dict[str, Any]:
        """Return names and values as plain JSON values."""
        return {"names": list(self.names), "values": self.values.tolist()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ParameterRows:
        """Return the rows that :meth:`to_json` returned as JSON."""
        names = tuple(content["names"])
        return cls(names, np.array(content["values"], dtype=float).reshape(-1, len(names)))


class _ParameterRows(Codec):
    """Rows as a dataset of the values, with the names as an attribute."""

    def write(self, value: ParameterRows, at: Place) -> None:
        dataset = at.group.create_dataset(at.path, data=value.values)
        names: Any = np.array(value.names, dtype=h5py.string_dtype())
        if len(names) > _MAX_ARRAY_NAMES:
            names = json.dumps(value.names)
        dataset.attrs["names"] = names

    def read(self, at: Place) -> ParameterRows:
        values = codecs.numbers("f", lambda _: (None, None)).read(at)
        names = at.entry.attrs["names"]
        listed = json.loads(names) if isinstance(names, str) else np.asarray(names).tolist()
        is_valid = isinstance(listed, list) and all(type(name) is str for name in listed)
        if not is_valid or len(listed) != values.shape[1] or not len(values):
            raise ValueError(
                f"{at.path} is {values.shape[0]} x {values.shape[1]} numbers, expected at least "
                "one row, and a number for each of its names"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{at.path} holds numbers that are not finite")
        return ParameterRows(tuple(listed), values)


PARAMETER_ROWS = _ParameterRows()


def per_observable(at: Place) -> tuple[int, ...]:
    """Return the shape of a result's values in a file: (observables,) or (rows, observables)."""
    rows = (len(at.group["parameters"]),) if "parameters" in at.group else ()
    return (*rows, len(at.names))
