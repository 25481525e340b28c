"""Arrays that only functions of their own module take, like those on a GPU; they wrap NumPy's."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from types import EllipsisType, SimpleNamespace
from typing import Any, NoReturn

import numpy as np


class DeviceArray:
    """An array that neither becomes one of NumPy by itself nor computes with one.

    It has the methods of NumPy's arrays that those of CuPy have too. Indices may be arrays of
    NumPy, as in CuPy.
    """

    __array_ufunc__ = None

    def __init__(self, array: Any) -> None:
        self._array = np.asarray(array)

    def get(self) -> np.ndarray:
        """Return a copy as an array of NumPy."""
        return self._array.copy()

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("an array on a device is converted by get() alone")

    def __array_namespace__(self, **_: Any) -> SimpleNamespace:
        return DEVICE

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[DeviceArray]:
        return map(DeviceArray, self._array)

    def __getitem__(self, key: Any) -> DeviceArray:
        return DeviceArray(self._array[_index(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._array[_index(key)] = _plain(value)


def _plain(value: Any) -> Any:
    """Return what NumPy computes with in place of an argument, which must be no array of NumPy."""
    if isinstance(value, DeviceArray):
        return value._array
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    assert not isinstance(value, np.ndarray), "an array of NumPy is among those of a device"
    return value


def _index(key: Any) -> Any:
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        is_integers = isinstance(part, np.ndarray) and part.dtype.kind in "iu"
        is_other = isinstance(part, DeviceArray | slice | int | EllipsisType | None)
        assert is_integers or is_other, f"index {part!r}"
    return tuple(part._array if isinstance(part, DeviceArray) else part for part in parts)


def _on_device(function: Callable[..., Any]) -> Callable[..., DeviceArray]:
    def call(*arguments: Any, **options: Any) -> DeviceArray:
        return DeviceArray(function(*map(_plain, arguments), **options))

    return call


def _take(array: DeviceArray, indices: Any, axis: int) -> DeviceArray:
    return DeviceArray(array._array.take(_index(indices)[0], axis))


def _in_place(function: Callable[..., Any]) -> Callable[..., DeviceArray]:
    def call(self: DeviceArray, other: Any) -> DeviceArray:
        self._array = function(self._array, _plain(other))
        return self

    return call


for name in ("astype", "conj", "copy", "reshape", "sum", "swapaxes", "transpose"):
    setattr(DeviceArray, name, _on_device(getattr(np.ndarray, name)))
DeviceArray.take = _take  # type: ignore[attr-defined]
for name in ("T", "real", "imag"):
    setattr(DeviceArray, name, property(_on_device(operator.attrgetter(name))))
for name in ("dtype", "itemsize", "ndim", "shape", "size"):
    get = operator.attrgetter(f"_array.{name}")
    setattr(DeviceArray, name, property(get))
for name in ("add", "sub", "mul", "truediv", "matmul", "and", "xor", "eq", "mod", "neg"):
    function = getattr(operator, f"__{name}__")
    setattr(DeviceArray, f"__{name}__", _on_device(function))
    if name not in ("eq", "neg"):
        swapped = _on_device(lambda right, left, function=function: function(left, right))
        setattr(DeviceArray, f"__r{name}__", swapped)
        setattr(DeviceArray, f"__i{name}__", _in_place(getattr(operator, f"__i{name}__")))

_FUNCTIONS = (
    *("arange", "ascontiguousarray", "bitwise_count", "concat", "einsum", "empty", "flatnonzero"),
    *("moveaxis", "ones", "stack", "zeros"),
)
DEVICE = SimpleNamespace(
    asarray=DeviceArray,
    add=SimpleNamespace(
        at=lambda array, indices, values: np.add.at(
            array._array, _index(indices)[0], _plain(values)
        ),
        reduceat=_on_device(np.add.reduceat),
    ),
    **{name: _on_device(getattr(np, name)) for name in _FUNCTIONS},
)
"""The module of these arrays."""
