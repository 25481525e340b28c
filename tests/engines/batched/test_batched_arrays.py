"""The engine on arrays of another module than NumPy, which don't mix with NumPy's, as CuPy's."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpcq.core.limits import Limits
from hpcq.engines.batched import engine as module
from hpcq.engines.batched.engine import BatchedEngine
from hpcq.engines.requests import Derivatives, OperatorTensors
from tests.engines.batched.pieces import cut_pieces, random_circuit, random_operators

LIMITS = Limits(1 << 30)


class DeviceArray(np.ndarray):
    """An array that refuses to be combined with one of NumPy, but has the functions of NumPy."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [_checked(each) for each in inputs]
        if "out" in options:
            options["out"] = tuple(_checked(each) for each in options["out"])
        return _on_device(getattr(ufunc, method)(*plain, **options))

    def __getitem__(self, index: Any) -> Any:
        _checked(index)
        return super().__getitem__(index)

    def __setitem__(self, index: Any, value: Any) -> None:
        _checked(index)
        _checked(value)
        super().__setitem__(index, value)

    def get(self) -> Any:
        """Return the array as one of NumPy."""
        return self.view(np.ndarray).copy()


def _checked(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_checked(each) for each in value)
    if type(value) is np.ndarray:
        raise TypeError("an array of NumPy among those of the device")
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def _on_device(value: Any) -> Any:
    return value.view(DeviceArray) if isinstance(value, np.ndarray) else value


def _function(name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        plain = [
            [_checked(each) for each in a] if isinstance(a, list) else _checked(a)
            for a in arguments
        ]
        return _on_device(getattr(np, name)(*plain, **options))

    return call


def device_module() -> SimpleNamespace:
    names = ("zeros", "zeros_like", "empty", "arange", "take", "exp", "cos", "sin", "stack")
    functions = {name: _function(name) for name in (*names, "moveaxis", "ascontiguousarray")}
    types = {name: getattr(np, name) for name in ("complex64", "complex128", "float64")}
    return SimpleNamespace(
        __name__="device",
        asarray=lambda array, dtype=None: _on_device(np.array(array, dtype=dtype)),
        **functions,
        **types,
    )


def test_arrays_of_the_device_do_not_mix():
    xp = device_module()
    with pytest.raises(TypeError, match="among those of the device"):
        xp.zeros(2) + np.ones(2)


@pytest.mark.parametrize("sliced", [False, True])
def test_another_array_module_gives_the_same(monkeypatch, sliced):
    rng = np.random.default_rng(24)
    piece = cut_pieces(random_circuit(rng, 5, 20, 8), "AAAAB")[0]
    assert [port.kind for port in piece.subcircuit.ports] == ["control", "gate", "gate"]
    if sliced:
        piece = type(piece)(piece.subcircuit, (), sliced=piece.open_ports[:2])
    operators = random_operators(piece, rng, 3)
    rows = rng.uniform(-4, 4, (3, len(piece.slots)))
    plain = BatchedEngine(LIMITS).prepared(piece)
    wanted = plain.execute(rows, OperatorTensors(operators))
    environments = rng.normal(size=(3, 2, *wanted.shape[1:])) + 0j

    monkeypatch.setattr(module, "import_module", lambda _name: device_module())
    engine = BatchedEngine(LIMITS, "gpu")
    assert engine.name == "batched device"
    prepared = engine.prepared(piece)
    tensors = prepared.execute(rows, OperatorTensors(operators))
    assert type(tensors) is np.ndarray
    np.testing.assert_array_equal(tensors, wanted)
    np.testing.assert_array_equal(
        prepared.execute(rows, Derivatives(operators, environments)),
        plain.execute(rows, Derivatives(operators, environments)),
    )
