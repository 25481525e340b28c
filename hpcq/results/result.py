"""What a run gives back."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.observables import Observable
from hpcq.core.errors import HpcqError
from hpcq.core.files import printable, printable_path
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subcircuits import Edge, Subcircuit

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from hpcq.circuits.pauli_text import PauliString
    from hpcq.parallel.tasks import FinishedTasks
    from hpcq.results.sampling_record import SamplingRecord


@dataclass(frozen=True, eq=False)
class Stage:
    """Tasks of a run, of which some are finished.

    Attributes:
        name: What they are for, in words.
        finished: The results so far.
    """

    name: str
    finished: FinishedTasks


@dataclass(frozen=True, eq=False)
class PartialProgress:
    """What a run that was stopped has done.

    Attributes:
        stages: Its tasks, stage by stage.
        rounds_before: For a run with shots, how many rounds were there before it began.
    """

    stages: tuple[Stage, ...]
    rounds_before: int = 0

    def stage(self, name: str, total: int) -> FinishedTasks | None:
        """Return the results of a stage of so many tasks, if there are any."""
        found = next((own.finished for own in self.stages if own.name == name), None)
        return found if found is not None and len(found) == total else None


@dataclass(frozen=True, eq=False)
class ResultDetails:
    """Everything from which the values of a result can be computed again.

    Attributes:
        circuit: The normalised circuit.
        cuts: Where it was cut.
        observables: What was asked for.
        cone_of: Light cone of each term; 0 where it says nothing.
        subcircuits: The pieces.
        edges: The cuts as pairs of ports, with their weights.
        strings: For each subcircuit the Pauli strings of its tensor, on its wires.
        tensors: For each subcircuit its tensor, shape (strings, D, D); equal subcircuits share
            one array; None where a run with shots has none.
        record: The shots; None for an exact run.
        fingerprint: What must be the same for a run to go on from this one.
        unfinished: What is done of a run that was stopped; None for a whole one.
        timelines: What ranks did and when, an array for each time that the run was started; its
            columns are rank, begin and end (in seconds), tasks, and the subcircuit of the first.
    """

    circuit: QuantumCircuit
    cuts: Cuts
    observables: tuple[Observable, ...]
    cone_of: Mapping[PauliString, int]
    subcircuits: tuple[Subcircuit, ...]
    edges: tuple[Edge, ...]
    strings: tuple[tuple[PauliString, ...], ...]
    tensors: tuple[NDArray[np.complex128] | None, ...]
    record: SamplingRecord | None = None
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    unfinished: PartialProgress | None = None
    timelines: tuple[NDArray[np.float64], ...] = ()


@dataclass(frozen=True, eq=False)
class Result:
    """Expectation values with their standard errors, and how they came about.

    Attributes:
        names: Name of each observable.
        expectation_values: Shape (observables,).
        standard_errors: Shape (observables,); 0 where exact.
        status: ``complete``, or ``partial`` for a run that was stopped.
        config: The resolved configuration, as plain JSON values.
        provenance: Versions, hosts, ranks and seconds of each phase, as plain JSON values.
        details: Circuit, cuts and tensors; None on ranks other than 0.
    """

    names: tuple[str, ...]
    expectation_values: NDArray[np.float64]
    standard_errors: NDArray[np.float64]
    status: str
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    details: ResultDetails | None = None

    def save(self, path: str | Path) -> None:
        """Write the result to an HDF5 file, all or nothing.

        Raises:
            InputError: If the file cannot be written.
        """
        _write(self, Path(path))

    def to_json(self) -> str:
        """Return the values as one JSON object on one line; null where a number is not known."""
        return json.dumps(_strict(self._plain()), allow_nan=False)

    def to_csv(self) -> str:
        """Return a table with a line for each observable; empty where a number is not known."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["observable", "expectation_value", "standard_error"])
        numbers = (self.expectation_values.tolist(), self.standard_errors.tolist())
        for name, *row in zip(self.names, *map(_strict, numbers), strict=True):
            writer.writerow([printable(name), *("" if own is None else repr(own) for own in row)])
        return text.getvalue()

    def to_bytes(self) -> bytes:
        """Return the values for :meth:`from_json`, bit for bit, infinite ones too."""
        return json.dumps(self._plain()).encode()

    def _plain(self) -> dict[str, Any]:
        """Return everything but the details as plain values."""
        return {
            "observables": list(self.names),
            "expectation_values": self.expectation_values.tolist(),
            "standard_errors": self.standard_errors.tolist(),
            "status": self.status,
            "config": dict(self.config),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, text: str | bytes) -> Result:
        """Read what :meth:`to_json` or :meth:`to_bytes` writes."""
        data = json.loads(text)
        return cls(
            tuple(data["observables"]),
            np.array(data["expectation_values"], dtype=float),
            np.array(data["standard_errors"], dtype=float),
            data["status"],
            data["config"],
            data["provenance"],
        )

    def __str__(self) -> str:
        return values_text(self.names, self.expectation_values, self.standard_errors)


def _no_format(_: Result, path: Path) -> None:
    raise HpcqError(f"result: no file format is loaded to write {printable_path(path)!r} in")


_write: Callable[[Result, Path], None] = _no_format


def set_writer(write: Callable[[Result, Path], None]) -> None:
    """Set what :meth:`Result.save` calls.

    A file format has to know results, so results do not import one: it registers itself.
    """
    global _write
    _write = write


_ROUNDING = 1e-13
"""Size of values of exact runs that may be rounding errors of coefficients of about 1."""


def _number_text(value: float) -> str:
    """Write a value with 12 decimals, or 12 digits where decimals show too many or few.

    What is as small as rounding errors is shown as 0; files and JSON have all digits.
    """
    ordinary = abs(value) < _ROUNDING or 1e-6 <= abs(value) < 1e6
    return f"{value:+.12f}" if ordinary else f"{value:+.12g}"


def values_text(
    names: Sequence[str],
    values: Sequence[float] | NDArray[Any],
    errors: Sequence[float] | NDArray[Any],
) -> str:
    """Write values as a table, one observable a line, exact ones without an error.

    A value that is NaN is one that a run which is not finished has not found yet.
    """
    shown = [printable(name) for name in _shortened(names)]
    width = max(map(len, shown), default=0)
    lines = []
    for name, value, error in zip(shown, values, errors, strict=True):
        if math.isnan(value):
            lines.append(f"{name:<{width}}  not yet available")
            continue
        uncertainty = f" ± {error:.2g}" if error else ""
        if not math.isfinite(error):
            uncertainty = " ± unknown"
        lines.append(f"{name:<{width}}  {_number_text(value)}{uncertainty}")
    return "\n".join(lines)


def _shortened(names: Sequence[str]) -> list[str]:
    """Shorten long names, but not those that would look alike, such as outcomes of many qubits."""
    short = [name if len(name) <= 40 else name[:37] + "..." for name in names]
    alike = Counter(dict(zip(names, short, strict=True)).values())
    return [own if alike[own] == 1 else name for name, own in zip(names, short, strict=True)]


def _strict(value: Any) -> Any:
    """Return plain values with None for every number that JSON has none for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _strict(own) for key, own in value.items()}
    return [_strict(own) for own in value] if isinstance(value, (list, tuple)) else value
