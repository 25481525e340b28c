"""The engine that measures: Aer, with noise or without, or a device."""

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
    """Which engine is wanted, as words that can be sent.

    Attributes:
        noise: Noise of the simulation, as :meth:`hpcq.engines.noise.Noise.to_json` writes it.
        backend: Name of the device; None for Aer.
        own: Whether each rank brings the device along as an object.
    """

    noise: str | None = None
    backend: str | None = None
    own: bool = False

    @classmethod
    def of(cls, noise: object, backend: object) -> ShotEngineSpec:
        """Read what the user asks for.

        Args:
            noise: Name, path, Aer's NoiseModel, or None.
            backend: Name, a BackendV2 or SamplerV2, or None.

        Raises:
            InputError: If it is not to be had.
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
        return cls(backend=str(name or type(backend).__name__), own=True)

    @staticmethod
    def told(noise: object, backend: object) -> list[str | None]:
        """Return rank 0's noise and backend for :meth:`check_same`; of objects only the type."""
        return [_text(noise), _text(backend)]

    @staticmethod
    def check_same(noise: object, backend: object, first: Sequence[str | None]) -> None:
        """Make sure that what another rank than 0 is given goes with what rank 0 is given.

        Names and paths are compared and not read, objects are looked at by their type.

        Args:
            noise: Of this rank, None if it leaves that to rank 0; the same holds for the backend.
            backend: Of this rank.
            first: What rank 0 told.

        Raises:
            InputError: If it does not.
        """
        checks = {"noise": (noise, check_model), "backend": (backend, check_device)}
        for (name, (given, check)), text in zip(checks.items(), first, strict=True):
            if given is None:
                continue
            named = isinstance(given, str | os.PathLike)
            if not named:
                check(given)
            if text is None or (named and _text(given) != text):
                has = "none" if text is None else text[:40]
                raise InputError(
                    f"{name}: {str(_text(given))[:40]!r}, and rank 0 has {has}; expected the same "
                    "on every rank"
                )

    def open(self, limits: Limits, device: Device, given: Any = None) -> ShotEngine:
        """Open the engine on this rank.

        Args:
            limits: What the rank may use.
            device: Where Aer runs.
            given: The device as an object, if the rank brings it along.
        """
        if self.backend is None:
            noise = None if self.noise is None else Noise.from_json(self.noise)
            return AerShots(limits, device, noise)
        if not self.own:
            return DeviceShots(open_backend(self.backend), self.backend)
        if given is None:
            raise InputError("backend: rank 0 has one, expected one on every rank")
        return DeviceShots(given, self.backend)


def _text(given: object) -> str | None:
    """Return a name or a path as it is given, the type of an object, None for nothing."""
    if isinstance(given, str | os.PathLike):
        return str(os.fspath(given))
    return None if given is None else type(given).__name__
