"""The result of a run: values, standard errors, and where they come from."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
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
    """One set of tasks of a run, such as its simulations.

    Attributes:
        name: Name of the stage.
        finished: Results of the finished tasks.
    """

    name: str
    finished: FinishedTasks


@dataclass(frozen=True, eq=False)
class PartialProgress:
    """The finished tasks of a run that was stopped.

    Attributes:
        stages: Stages that have begun.
        rounds_before: For a run with shots, number of rounds in the result that it continues.
    """

    stages: tuple[Stage, ...]
    rounds_before: int = 0

    def stage(self, name: str, total: int) -> FinishedTasks | None:
        """Return the results of the stage with a name and a number of tasks; None without one."""
        finished = next((stage.finished for stage in self.stages if stage.name == name), None)
        return finished if finished is not None and len(finished) == total else None


@dataclass(frozen=True, eq=False)
class ResultDetails:
    """Everything from which the values of a result can be computed again.

    Attributes:
        circuit: The normalised circuit.
        cuts: The cuts of the circuit.
        observables: The observables that were asked for.
        cone_of: Number of each term's light cone; 0 for terms that are not contained.
        subcircuits: The subcircuits, of all light cones.
        edges: The cuts as pairs of ports, with their weights.
        strings: For each subcircuit the Pauli strings of its tensor, on its own wires.
        tensors: For each subcircuit its tensor, shape (strings, D, D) with D the product of the
            ports' dimensions; equal subcircuits share one array. None if a run with shots has not
            estimated it.
        record: The record of a run with shots; None for an exact run.
        fingerprint: Digests and words that name the run; only the same run can resume it.
        unfinished: Finished tasks of a run that was stopped; None for a complete run.
        timelines: For each start of the run an array, shape (spans, 5): rank, begin and end in
            seconds, number of tasks, and the subcircuit of the first task.
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

    @property
    def identity(self) -> Mapping[str, str]:
        """Old name of :attr:`fingerprint`."""
        warnings.warn(
            "identity of a result's details is now fingerprint", DeprecationWarning, stacklevel=2
        )
        return self.fingerprint


@dataclass(frozen=True, eq=False)
class Result:
    """Expectation values with their standard errors, and how they were computed.

    Attributes:
        names: Name of each observable.
        expectation_values: Shape (observables,).
        standard_errors: Shape (observables,); 0 for an exact run.
        status: ``complete``, or ``partial`` for a run that was stopped.
        config: The resolved configuration, as plain JSON values.
        provenance: Versions, hosts, ranks and seconds of each phase, as plain JSON values.
        details: Circuit, cuts and tensors, or record of shots; None on ranks other than 0.
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
            InputError: If the path cannot be written, or holds a file that is not an hpcq result.
            NotWrittenError: If writing fails, for example because the disk is full; the old file
                is kept.
        """
        _write(self, Path(path))

    def to_json(self) -> str:
        """Return the values as a JSON object on one line; null for NaN and infinite numbers."""
        return json.dumps(_strict(self._plain()), allow_nan=False)

    def to_csv(self) -> str:
        """Return a CSV table with one row per observable; empty for NaN and infinite numbers."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["observable", "expectation_value", "standard_error"])
        numbers = (self.expectation_values.tolist(), self.standard_errors.tolist())
        for name, *row in zip(self.names, *map(_strict, numbers), strict=True):
            writer.writerow(
                [printable(name), *("" if value is None else repr(value) for value in row)]
            )
        return text.getvalue()

    def to_bytes(self) -> bytes:
        """Return the values for :meth:`from_json`, bit for bit, also NaN and infinite numbers."""
        return json.dumps(self._plain()).encode()

    def _plain(self) -> dict[str, Any]:
        """Return everything but the details as JSON values."""
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
        """Return the result that :meth:`to_json` or :meth:`to_bytes` wrote, without details."""
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
    """Set the function that :meth:`Result.save` calls.

    The module of a file format imports this one, so it registers itself here instead of being
    imported.
    """
    global _write
    _write = write


_ROUNDING = 1e-13
"""Values below this are shown as 0: rounding errors of exact runs with coefficients of about 1."""


def _number_text(value: float) -> str:
    """Return a value with 12 decimals, or with 12 digits if it is very large or small.

    A value as small as a rounding error is shown as 0; files and JSON have all digits.
    """
    in_decimals = abs(value) < _ROUNDING or 1e-6 <= abs(value) < 1e6
    return f"{value:+.12f}" if in_decimals else f"{value:+.12g}"


def values_text(
    names: Sequence[str],
    values: Sequence[float] | NDArray[Any],
    errors: Sequence[float] | NDArray[Any],
) -> str:
    """Return a table of values, one line per observable; exact values have no error.

    NaN stands for a value that a partial run has not computed yet.
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
    """Shorten long names, except those that would become equal, such as outcomes of many qubits."""
    short = [name if len(name) <= 40 else name[:37] + "..." for name in names]
    uses = Counter(dict(zip(names, short, strict=True)).values())
    return [text if uses[text] == 1 else name for name, text in zip(names, short, strict=True)]


def _strict(value: Any) -> Any:
    """Return JSON values with None for NaN and infinite numbers, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _strict(entry) for key, entry in value.items()}
    return [_strict(entry) for entry in value] if isinstance(value, (list, tuple)) else value
