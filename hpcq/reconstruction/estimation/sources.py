"""Which subcircuits share shots.

Subcircuits that do the same, and are never multiplied with each other, can be read from the same
shots; that is so in different light cones. Within a cone each one has shots of its own: the square
of an estimate is no estimate of the square.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PauliString
from hpcq.cutting.subcircuits import CutCircuit, Subcircuit
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.term_table import TermTable


@dataclass(frozen=True, eq=False)
class Sources:
    """The distinct tensors to sample.

    Attributes:
        tensors: Their variants.
        uses: For each subcircuit its source; None where no term sees it.
        places: For each subcircuit the place of each of its strings among its source's.
    """

    tensors: tuple[SampledTensor, ...]
    uses: tuple[int | None, ...]
    places: tuple[NDArray[np.intp], ...]

    @classmethod
    def of(
        cls,
        cut: CutCircuit,
        terms: TermTable,
        seen: Collection[int],
        *,
        lean: bool,
        shared: bool = True,
    ) -> Sources:
        """Find the sources of a cut circuit.

        Args:
            cut: The cut circuit.
            terms: The observables' terms.
            seen: The subcircuits that some term sees.
            lean: Whether their port bases are those with few settings.
            shared: Whether equal subcircuits of different light cones share shots.
        """
        numbers: dict[object, int] = {}
        met: dict[tuple[str, int], int] = {}
        subcircuits: list[Subcircuit] = []
        strings: list[dict[PauliString, int]] = []
        uses: list[int | None] = []
        for number, (subcircuit, asked) in enumerate(
            zip(cut.subcircuits, terms.strings, strict=True)
        ):
            if number not in seen:
                uses.append(None)
                continue
            again = met.get((subcircuit.content, subcircuit.cone), 0)
            met[subcircuit.content, subcircuit.cone] = again + 1
            key = (subcircuit.content, again) if shared else number
            use = numbers.setdefault(key, len(numbers))
            if use == len(subcircuits):
                subcircuits.append(subcircuit)
                strings.append({})
            for string in asked:
                strings[use].setdefault(string, len(strings[use]))
            uses.append(use)
        places = tuple(
            np.array([] if use is None else [strings[use][s] for s in asked], dtype=np.intp)
            for use, asked in zip(uses, terms.strings, strict=True)
        )
        tensors = tuple(
            SampledTensor(subcircuit, tuple(own), lean)
            for subcircuit, own in zip(subcircuits, strings, strict=True)
        )
        return cls(tensors, tuple(uses), places)

    def spread(
        self, tensors: Sequence[NDArray[np.complex128]], axis: int = 0
    ) -> list[NDArray[np.complex128]]:
        """Return every subcircuit's tensor; an empty one where no term sees it.

        Args:
            tensors: The tensor of every source.
            axis: The axis of the strings: 0, or 1 where the points come before them.
        """
        nothing = np.empty((1, 0), dtype=complex)
        return [
            nothing if use is None else np.take(tensors[use], places, axis=axis)
            for use, places in zip(self.uses, self.places, strict=True)
        ]
