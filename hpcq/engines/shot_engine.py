"""Choose and open the engine for shots: Aer, with or without noise, or a device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.limits import Device, Limits
from hpcq.engines.aer_sampler import AerShots
from hpcq.engines.backend_sampler import DeviceShots, check_device
from hpcq.engines.backends import open_backend
from hpcq.engines.noise import Noise, as_noise, check_model, read_noise
from hpcq.engines.protocol import ShotEngine


@dataclass(frozen=True)
class ShotEngineSpec:
    """Specification of an engine for shots, in a form that can be sent to other ranks.

    Attributes:
        noise: Noise of the simulation, as :meth:`hpcq.engines.noise.Noise.to_json` writes it.
        backend: Name of the device; None for Aer.
        is_object: Whether the device is an object that every rank passes as an argument.
    """

    noise: str | None = None
    backend: str | None = None
    is_object: bool = False

    @classmethod
    def of(cls, noise: object, backend: object) -> ShotEngineSpec:
        """Return the specification of a user's arguments.

        Args:
            noise: Name, path, Aer's NoiseModel, or None.
            backend: Name, a BackendV2 or SamplerV2, or None.

        Raises:
            InputError: If both are given, or if the noise cannot be read.
        """
        if noise is not None and backend is not None:
            raise InputError("noise: given with a backend, expected only one of them")
        if noise is not None:
            read = read_noise(noise) if isinstance(noise, str) else as_noise(noise)
            return cls(noise=read.to_json())
        if backend is None:
            return cls()
        if isinstance(backend, str):
            return cls(backend=backend)
        name = getattr(backend, "name", None)
        return cls(backend=str(name or type(backend).__name__), is_object=True)

    @staticmethod
    def argument_texts(noise: object, backend: object) -> list[str | None]:
        """Return rank 0's arguments for :meth:`check_same`: names, paths, or types of objects."""
        return [_text(noise), _text(backend)]

    @staticmethod
    def check_same(noise: object, backend: object, first: Sequence[str | None]) -> None:
        """Check that the arguments on another rank agree with those on rank 0.

        Names and paths are compared, but not read; of objects only the type is checked.

        Args:
            noise: The argument on this rank; None if it leaves the choice to rank 0.
            backend: The same for the backend.
            first: Rank 0's :meth:`argument_texts`.

        Raises:
            InputError: If they do not agree.
        """
        checks = {"noise": (noise, check_model), "backend": (backend, check_device)}
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

    def open(self, limits: Limits, device: Device, given: Any = None) -> ShotEngine:
        """Open the engine on this rank.

        Args:
            limits: Threads and memory that the rank may use.
            device: Whether Aer runs on CPU or GPU.
            given: The device, if it is an object.

        Raises:
            InputError: If the device cannot be opened, or if this rank has none.
        """
        if self.backend is None:
            noise = None if self.noise is None else Noise.from_json(self.noise)
            return AerShots(limits, device, noise)
        if not self.is_object:
            return DeviceShots(open_backend(self.backend), self.backend)
        if given is None:
            raise InputError("backend: rank 0 has one, expected one on every rank")
        return DeviceShots(given, self.backend)


def _text(given: object) -> str | None:
    """Return a name or path unchanged, the type's name for an object, and None for None."""
    if isinstance(given, str | os.PathLike):
        return str(os.fspath(given))
    return None if given is None else type(given).__name__
