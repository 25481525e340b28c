"""Strings that are read from counts which were taken for others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hpcq.circuits.pauli_text import PauliString
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.cutting.subexperiments.measurement_bases import Basis


@dataclass(frozen=True, eq=False)
class RereadTensor(SampledTensor):
    """The variants of a subcircuit, with other strings than those that they were measured for.

    The variants and the bits of their outcomes stay the same. A string that no basis measures can
    still not be read.

    Attributes:
        measured_bases: The bases that were measured.
    """

    measured_bases: tuple[Basis, ...] = ()

    @classmethod
    def of(cls, tensor: SampledTensor, strings: tuple[PauliString, ...]) -> RereadTensor:
        """Return the variants of a tensor with these strings; the first is the identity."""
        return cls(tensor.subcircuit, strings, tensor.lean, tensor.bases)

    @cached_property
    def bases(self) -> tuple[Basis, ...]:
        """The bases that were measured."""
        return self.measured_bases
