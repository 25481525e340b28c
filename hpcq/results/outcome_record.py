"""What a result file holds of the outcomes of a circuit's measurements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.measurements import Measurements
from hpcq.results import hdf5_codecs as codecs
from hpcq.results.details import register_section
from hpcq.results.hdf5_fields import Codec, Layout, Place, stored, stored_class
from hpcq.results.samples import Samples


def _read_registers(entry: Any, at: Place) -> Measurements:
    return Measurements.from_json(json.loads(entry), at.circuit.num_qubits)


_REGISTERS = Codec(lambda measurements, _: json.dumps(measurements.to_json()), _read_registers)
_TEXTS = Codec(
    lambda texts, _: np.array(texts, dtype=h5py.string_dtype()),
    lambda dataset, _: tuple(map(str, dataset.asstr()[()])),
)


def _check_texts(texts: Sequence[str], at: Place) -> str:
    at.measurements.columns(texts)
    return ""


def _sample_shape(at: Place) -> tuple[None, int]:
    return None, -(-at.measurements.num_bits // 8)


@stored_class
class OutcomeProbabilities:
    """Some outcomes with their probabilities.

    Attributes:
        bitstrings: The outcomes, as in Qiskit.
        probabilities: Shape (outcomes,).
        note: How they were found, such as whether a list of the most probable ones is exact.
    """

    bitstrings: tuple[str, ...] = stored("bitstrings", _TEXTS, check=_check_texts)
    probabilities: NDArray[np.float64] = stored(
        "probabilities", codecs.numbers("f", lambda at: (len(at.bitstrings),))
    )
    note: str = stored("@note", codecs.TEXT, default="")


@stored_class
class MostProbable(OutcomeProbabilities):
    """The most probable outcomes, the most probable first, with what is certain about them.

    Attributes:
        others: No other outcome is more probable than this.
        num_samples: Number of samples from which outcomes were taken; 0 if none were needed.
        missed_probability: Bound on the probability that one outcome, as probable as the last one,
            was missed; 0 if the list is exact.
    """

    others: float = stored("@others", codecs.NUMBER, default=1.0)
    num_samples: int = stored("@num_samples", codecs.INTEGER, default=0)
    missed_probability: float = stored("@missed_probability", codecs.NUMBER, default=1.0)

    @property
    def is_exact(self) -> bool:
        """Whether no other outcome is more probable than one of these; equal ones may exist."""
        return self.missed_probability == 0

    def __str__(self) -> str:
        rows = zip(self.bitstrings, self.probabilities.tolist(), strict=True)
        return "\n".join([*(f"{text}  {value:.12g}" for text, value in rows), self.note])


@stored_class
class Marginal:
    """The joint distribution of some qubits.

    Attributes:
        qubits: The qubits.
        probabilities: Shape (2**qubits,); bit i of the index is the outcome of ``qubits[i]``.
    """

    qubits: tuple[int, ...] = stored("@qubits", codecs.INTEGERS)
    probabilities: NDArray[np.float64] = stored(
        "probabilities", codecs.numbers("f", lambda at: (1 << len(at.qubits),))
    )


@stored_class
class OutcomeRecord:
    """Outcomes of a circuit's measurements; None or empty where they were not asked for.

    Attributes:
        measurements: The classical registers.
        packed: The samples, as in :class:`hpcq.results.samples.Samples`.
        sample_probabilities: The probability of each sample's outcome; NaN where unknown.
        distance: Bound on the total variation distance of the samples' distribution from the exact
            one, apart from rounding: 0, unless a matrix product state was truncated.
        asked: The probabilities of given outcomes.
        marginals: Distributions of sets of qubits.
        top: The most probable outcomes, the most probable first.
    """

    measurements: Measurements = stored("@registers", _REGISTERS)
    packed: NDArray[np.uint8] | None = stored(
        "samples", codecs.numbers("u", _sample_shape, read_as=np.uint8), default=None
    )
    sample_probabilities: NDArray[np.float64] | None = stored(
        "probabilities", codecs.numbers("f", lambda at: (len(at.packed),)), default=None
    )
    distance: float = stored("@distance", codecs.NUMBER, default=0.0)
    asked: OutcomeProbabilities | None = stored("asked", Layout(OutcomeProbabilities), default=None)
    marginals: tuple[Marginal, ...] = stored("marginals/*", Layout(Marginal), default=())
    top: MostProbable | None = stored("top", Layout(MostProbable), default=None)

    @property
    def samples(self) -> Samples | None:
        """The samples; None if there are none."""
        if self.packed is None or self.sample_probabilities is None:
            return None
        return Samples(self.measurements, self.packed, self.sample_probabilities)


register_section("outcomes", OutcomeRecord)
