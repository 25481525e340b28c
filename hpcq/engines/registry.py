"""Engines by name, and which of them a run opens.

An engine is registered by one line: in ``_BUILT_IN`` for one of hpcq, by :func:`register`, or in
another package by an entry point of the group ``hpcq.engines``, such as
``toy = my_package.toy:ToyEngine``. Entry points reach all ranks and their subprocesses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hpcq.core.errors import HpcqError, InputError, StoppedError
from hpcq.core.limits import Device, Limits
from hpcq.engines.backend_sampler import DeviceShots, check_device
from hpcq.engines.backends import open_backend
from hpcq.engines.noise import Noise, as_noise, check_model, read_noise
from hpcq.engines.protocol import Engine

Factory = Callable[[Limits, Device], Engine]
"""Opens an engine that may use these threads and this memory, on CPU or GPU."""

DEFAULT_ENGINE = "aer"

_GROUP = "hpcq.engines"
_MAX_OPEN = 6
"""Engines that a process keeps open, each with its prepared pieces."""

_BUILT_IN = {
    name: EntryPoint(name, f"hpcq.engines.{location}", _GROUP)
    for name, location in {
        DEFAULT_ENGINE: "aer_engine:AerEngine",
        "mps": "mps_engine:MpsEngine",
        "stabilizer": "stabilizer:StabilizerEngine",
        "pauli": "pauli_engine:PauliEngine",
        "batched": "batched.engine:BatchedEngine",
    }.items()
}
"""The engines of hpcq. They are imported when they are first opened: most plans need none, and all
together take as long to import as a small plan takes."""

_factories: dict[str, Factory] = {}


def register(name: str, factory: Factory) -> None:
    """Add an engine to those of this process, or replace it."""
    _factories[name] = factory
    _open.cache_clear()


@dataclass(frozen=True)
class EngineSpec:
    """Which engine a run opens, in a form that can be sent to other ranks.

    Attributes:
        name: Name of the engine; ignored if there is a device.
        noise: Noise of Aer's shots, as :meth:`hpcq.engines.noise.Noise.to_json` writes it.
        backend: Name of the device that takes the shots instead.
        is_object: Whether the device is an object that every rank passes as an argument.
    """

    name: str = DEFAULT_ENGINE
    noise: str | None = None
    backend: str | None = None
    is_object: bool = False

    @classmethod
    def of(cls, noise: object = None, backend: object = None, engine: object = None) -> EngineSpec:
        """Return the specification of a user's arguments.

        Args:
            noise: Name, path, Aer's NoiseModel, or None.
            backend: Name, a BackendV2 or SamplerV2, or None.
            engine: Name of an engine, or None for Aer.

        Raises:
            InputError: If arguments exclude each other, the noise cannot be read, or there is no
                such engine.
        """
        if engine is not None:
            _factory(engine)
        if backend is not None and engine is not None:
            raise InputError("engine: given with a backend, expected only one of them")
        if noise is not None and backend is not None:
            raise InputError("noise: given with a backend, expected only one of them")
        if noise is not None:
            if engine not in (None, DEFAULT_ENGINE):
                raise InputError(f"noise: given with engine {engine}, expected engine aer")
            read = read_noise(noise) if isinstance(noise, str) else as_noise(noise)
            return cls(noise=read.to_json())
        if backend is None:
            return cls(str(engine or DEFAULT_ENGINE))
        if isinstance(backend, str):
            return cls(backend=backend)
        name = getattr(backend, "name", None)
        return cls(backend=str(name or type(backend).__name__), is_object=True)

    @staticmethod
    def argument_texts(noise: object, backend: object, engine: object = None) -> list[str | None]:
        """Return rank 0's arguments for :meth:`check_same`: names, paths, or types of objects."""
        return [_text(noise), _text(backend), _text(engine)]

    @staticmethod
    def check_same(
        noise: object, backend: object, first: Sequence[str | None], engine: object = None
    ) -> None:
        """Check that the arguments on another rank agree with the :meth:`argument_texts` of rank 0.

        Names and paths are compared, but not read; of objects only the type is checked. None leaves
        the choice to rank 0.

        Raises:
            InputError: If they do not agree.
        """
        checks: dict[str, tuple[object, Callable[[object], Any]]] = {
            "noise": (noise, check_model),
            "backend": (backend, check_device),
            "engine": (engine, _factory),
        }
        for (name, (given, check)), text in zip(checks.items(), first, strict=True):
            if given is None:
                continue
            is_name = isinstance(given, str | os.PathLike)
            if not is_name:
                check(given)
            if text is None or (is_name and _text(given) != text):
                first_text = "none" if text is None else text[:40]
                raise InputError(
                    f"{name}: {str(_text(given))[:40]!r}, and rank 0 has {first_text}; expected "
                    "the same on every rank"
                )


def open_engine(spec: EngineSpec, limits: Limits, device: Device, given: Any = None) -> Engine:
    """Open the engine of a run on this rank; the same arguments give the same engine.

    ``given`` is the device that takes the shots, if it is an object.

    Raises:
        InputError: If the engine cannot be opened, or if the device is missing on this rank.
    """
    if spec.backend is None:
        return _open(spec, limits, device)
    if not spec.is_object:
        return DeviceShots(open_backend(spec.backend), spec.backend)
    if given is None:
        raise InputError("backend: rank 0 has one, expected one on every rank")
    return DeviceShots(given, spec.backend)


@lru_cache(_MAX_OPEN)
def _open(spec: EngineSpec, limits: Limits, device: Device) -> Engine:
    if spec.noise is not None:
        from hpcq.engines.aer_engine import AerEngine

        return AerEngine(limits, device, Noise.from_json(spec.noise))
    try:
        engine = _factory(spec.name)(limits, device)
    except HpcqError:
        raise
    except (Exception, SystemExit) as error:  # so may its class
        text = f"engine: {spec.name!r} cannot be opened: {_reason(error)}"
        raise InputError(text) from error
    if not isinstance(engine, Engine):
        raise InputError(
            f"engine: {spec.name!r} opens a {type(engine).__name__}, expected a subclass of "
            "hpcq.engines.protocol.Engine"
        )
    return engine


def _reason(error: BaseException) -> str:
    """Return an error of another package in one short line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _factory(name: object) -> Factory:
    """Return what opens an engine.

    Raises:
        InputError: If there is no engine of that name, or its package cannot be loaded.
    """
    name = str(name)
    if name in _factories:
        return _factories[name]
    found = _BUILT_IN.get(name) or _installed().get(name)
    if found is None:
        known = ", ".join(sorted({*_factories, *_BUILT_IN, *_installed()}))
        raise InputError(f"engine: {name[:40]!r}, expected one of {known}")
    try:
        factory: Factory = found.load()
    except StoppedError:  # a signal has come in the meantime
        raise
    except (Exception, SystemExit) as error:  # a package may raise anything when it is imported
        text = f"engine: {name!r} ({found.value}) cannot be loaded: {_reason(error)}"
        raise InputError(text) from None
    return _factories.setdefault(name, factory)


@cache
def _installed() -> Mapping[str, EntryPoint]:
    """Return the engines of other packages, by name."""
    return {point.name: point for point in entry_points(group=_GROUP)}


def _text(given: object) -> str | None:
    """Return a name or path unchanged, the type's name for an object, and None for None."""
    if isinstance(given, str | os.PathLike):
        return str(os.fspath(given))
    return None if given is None else type(given).__name__
