"""Sources: the distinct subcircuits that are measured, each for one or several subcircuits.

Equal subcircuits can share shots if their tensors are never multiplied with each other, that is,
if they belong to different light cones. Within a light cone each has its own shots, because the
square of an estimate is a biased estimate of the square.
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
        tensors: The variants of each source.
        uses: For each subcircuit, the number of its source; None where no term sees it.
        string_indices: For each subcircuit, the index of each of its strings among those of its
            source.
    """

    tensors: tuple[SampledTensor, ...]
    uses: tuple[int | None, ...]
    string_indices: tuple[NDArray[np.intp], ...]

    @classmethod
    def of(
        cls,
        cut: CutCircuit,
        terms: TermTable,
        visible: Collection[int],
        *,
        lean: bool,
        shared: bool = True,
    ) -> Sources:
        """Find the sources of a cut circuit, for the subcircuits that some term sees (``visible``).

        Lean port bases have few settings. If sources are shared, equal subcircuits of different
        light cones share shots.
        """
        numbers: dict[object, int] = {}
        repeats: dict[tuple[str, int], int] = {}
        subcircuits: list[Subcircuit] = []
        strings: list[dict[PauliString, int]] = []
        uses: list[int | None] = []
        for number, (subcircuit, requested) in enumerate(
            zip(cut.subcircuits, terms.strings, strict=True)
        ):
            if number not in visible:
                uses.append(None)
                continue
            repeat = repeats.get((subcircuit.content, subcircuit.cone), 0)
            repeats[subcircuit.content, subcircuit.cone] = repeat + 1
            key = (subcircuit.content, repeat) if shared else number
            source = numbers.setdefault(key, len(numbers))
            if source == len(subcircuits):
                subcircuits.append(subcircuit)
                strings.append({})
            for string in requested:
                strings[source].setdefault(string, len(strings[source]))
            uses.append(source)
        string_indices = tuple(
            np.array(
                [] if source is None else [strings[source][s] for s in requested], dtype=np.intp
            )
            for source, requested in zip(uses, terms.strings, strict=True)
        )
        tensors = tuple(
            SampledTensor(subcircuit, tuple(requested), lean)
            for subcircuit, requested in zip(subcircuits, strings, strict=True)
        )
        return cls(tensors, tuple(uses), string_indices)

    def expand(
        self, tensors: Sequence[NDArray[np.complex128]], axis: int = 0
    ) -> list[NDArray[np.complex128]]:
        """Return the tensor of every subcircuit; an empty one where no term sees it.

        ``axis`` is that of the strings: 0, or 1 where an axis of points precedes it.
        """
        empty = np.empty((1, 0), dtype=complex)
        return [
            empty if source is None else np.take(tensors[source], string_indices, axis=axis)
            for source, string_indices in zip(self.uses, self.string_indices, strict=True)
        ]
