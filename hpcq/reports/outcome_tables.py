"""Outcomes of a circuit's measurements as tables: of text, as JSON values, and as rows of CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.measurements import Measurements
from hpcq.core.files import printable
from hpcq.planning.description import count_text
from hpcq.results.outcome_record import MostProbable, OutcomeRecord
from hpcq.results.samples import Samples

if TYPE_CHECKING:
    from hpcq.kinds.shots.outcomes import EstimatedOutcomes, EstimatedProbabilities

_MAX_SHOWN = 20
"""Maximum number of outcomes that a text table shows; JSON, CSV and files have all."""

Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ProbabilityTable:
    """Probabilities of outcomes.

    Attributes:
        what: ``probabilities`` of given outcomes, ``marginal``, or ``top``: the most probable ones.
        values: Shape (outcomes,).
        bitstrings: The outcomes; None for all of a marginal.
        qubits: The qubits of a marginal; bit i of an outcome's number is that of ``qubits[i]``.
        errors: Standard errors of estimates from shots; None for exact values.
        projected: The nearest probabilities to such estimates; None for exact values.
        most_probable: What is certain about a list of the most probable outcomes.
    """

    what: str
    values: Reals
    bitstrings: tuple[str, ...] | None = None
    qubits: tuple[int, ...] = ()
    errors: Reals | None = None
    projected: Reals | None = None
    most_probable: MostProbable | None = None

    def text_of(self, number: int) -> str:
        """Return an outcome as a bit string; the last qubit of a marginal is leftmost."""
        if self.bitstrings is not None:
            return self.bitstrings[number]
        return f"{number:0{len(self.qubits)}b}" if self.qubits else ""

    def rows(self, order: Sequence[int]) -> Iterator[tuple[str, float, float, float]]:
        """Yield outcomes: bit string, probability, standard error, projected probability."""
        nan = np.full(len(self.values), math.nan)
        errors = nan if self.errors is None else self.errors
        projected = nan if self.projected is None else self.projected
        for number in order:
            yield (
                self.text_of(number),
                float(self.values[number]),
                float(errors[number]),
                float(projected[number]),
            )

    @property
    def title(self) -> str:
        """Heading of the table."""
        if self.what == "marginal":
            return f"marginal of qubits {' '.join(map(str, self.qubits))}"
        return "most probable outcomes" if self.what == "top" else self.what

    def text(self) -> str:
        """Return the table as text; of a large marginal, the most probable outcomes."""
        order: Sequence[int] = range(len(self.values))
        if self.what == "marginal" and len(self.values) > _MAX_SHOWN:
            order = np.argsort(-self.values, kind="stable")[:_MAX_SHOWN].tolist()
        headings = ["outcome", "probability"]
        if self.errors is not None:
            headings += ["error", "nearest distribution"]
        cells = []
        for text, value, error, projected in islice(self.rows(order), _MAX_SHOWN):
            numbers = [f"{value:.12g}"]
            if self.errors is not None:
                numbers = [f"{value:+.6f}", f"{error:.6f}", f"{projected:.6f}"]
            cells.append([text, *numbers])
        note = [printable(self.most_probable.note)] if self.most_probable else []
        return "\n".join([self.title, *_table(headings, cells, len(self.values)), *note])

    def to_json(self) -> Any:
        """Return the table as plain JSON values: by bit string, or of a marginal as a list."""
        details: dict[str, Any] = {}
        for name, numbers in (("standard_errors", self.errors), ("projected", self.projected)):
            if numbers is not None:
                details[name] = numbers.tolist()
        values = self.values.tolist()
        if self.what == "marginal":
            return {"qubits": list(self.qubits), "probabilities": values, **details}
        assert self.bitstrings is not None, "only marginals have none"
        numbers_of = {"probabilities": values, **details}
        found = {
            name: dict(zip(self.bitstrings, numbers, strict=True))
            for name, numbers in numbers_of.items()
        }
        if self.most_probable is None:
            return found
        return {
            **found,
            "guarantee": self.most_probable.note,
            "is_exact": self.most_probable.is_exact,
            "others": self.most_probable.others,
            "missed_probability": self.most_probable.missed_probability,
        }


@dataclass(frozen=True, eq=False)
class OutcomeTables:
    """Outcomes of a circuit's measurements, as far as they were asked for.

    Attributes:
        measurements: The classical registers.
        samples: The samples; None if there are none.
        tables: The probabilities.
    """

    measurements: Measurements
    samples: Samples | None
    tables: tuple[ProbabilityTable, ...]

    @classmethod
    def of(cls, record: OutcomeRecord) -> OutcomeTables:
        """Return the outcomes that a result holds."""
        asked, top = record.asked, record.top
        tables = []
        if asked is not None:
            tables.append(ProbabilityTable("probabilities", asked.probabilities, asked.bitstrings))
        if top is not None:
            texts = top.bitstrings
            tables.append(ProbabilityTable("top", top.probabilities, texts, most_probable=top))
        for each in record.marginals:
            tables.append(ProbabilityTable("marginal", each.probabilities, qubits=each.qubits))
        return cls(record.measurements, record.samples, tuple(tables))

    @classmethod
    def estimated(
        cls,
        outcomes: EstimatedOutcomes,
        bitstrings: Sequence[str],
        marginals: Sequence[Sequence[int]],
    ) -> OutcomeTables:
        """Return the requested outcomes, estimated from shots on a device.

        Raises:
            InputError: If the counts do not determine them.
        """

        def table(what: str, found: EstimatedProbabilities, **of_what: Any) -> ProbabilityTable:
            errors, projected = found.standard_errors, found.projected
            return ProbabilityTable(
                what, found.values, errors=errors, projected=projected, **of_what
            )

        tables = []
        if bitstrings:
            texts = tuple(dict.fromkeys(bitstrings))
            tables.append(table("probabilities", outcomes.probabilities(texts), bitstrings=texts))
        for qubits in marginals:
            tables.append(table("marginal", outcomes.marginal(qubits), qubits=tuple(qubits)))
        return cls(outcomes.measurements, None, tuple(tables))

    def text(self) -> str:
        """Return all of it as text."""
        parts = [self._samples_text()] if self.samples is not None else []
        return "\n\n".join([*parts, *(table.text() for table in self.tables)])

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON values.

        ``probabilities`` has the outcomes that were asked for, and those that were sampled.
        """
        content: dict[str, Any] = {"registers": self.measurements.describe()}
        probabilities: dict[str, float] = {}
        if self.samples is not None:
            content |= {"shots": self.samples.num_shots, "counts": self.samples.counts}
            probabilities |= {text: value for text, value, _ in self.samples.distinct()}
        marginals = []
        for table in self.tables:
            found = table.to_json()
            if table.what == "probabilities":
                probabilities |= found.pop("probabilities")
                content |= found
            elif table.what == "marginal":
                marginals.append(found)
            else:
                content[table.what] = found
        if probabilities:
            content["probabilities"] = probabilities
        return {**content, **({"marginals": marginals} if marginals else {})}

    def csv_rows(self) -> Iterator[tuple[object, ...]]:
        """Yield rows of CSV: what, qubits, outcome, count, probability, standard error."""
        yield "what", "qubits", "outcome", "count", "probability", "standard_error"
        if self.samples is not None:
            for text, value, count in self.samples.distinct():
                yield "samples", "", text, count, value, ""
        for table in self.tables:
            qubits = " ".join(map(str, table.qubits))
            for text, value, error, _ in table.rows(range(len(table.values))):
                shown = "" if table.errors is None else error
                yield table.what, qubits, text, "", value, shown

    def _samples_text(self) -> str:
        assert self.samples is not None, "there are some"
        shots = self.samples.num_shots
        rows = [
            [text, str(count), f"{count / shots:.6f}", "" if math.isnan(p) else f"{p:.6g}"]
            for text, p, count in islice(self.samples.distinct(), _MAX_SHOWN)
        ]
        names = " ".join(printable(each.name) for each in reversed(self.measurements.registers))
        title = f"{count_text(shots, 'sample')} of {names}"
        headings = ["outcome", "count", "share", "probability"]
        return "\n".join([title, *_table(headings, rows, len(self.samples.counts))])


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> list[str]:
    """Return the lines of a table, and one that counts the rows that are not shown."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = []
    for row in (headings, *rows):
        first, *others = (
            f"{cell:>{width}}" if column else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([f"  {first}", *others]).rstrip())
    if total > len(rows):
        lines.append(f"  ... and {count_text(total - len(rows), 'more outcome')}")
    return lines
