"""The result of a run: values, standard errors, and where they come from."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.files import printable, printable_path
from hpcq.results import hdf5_codecs as codecs
from hpcq.results.details import DETAILS, ResultDetails
from hpcq.results.hdf5_fields import Layout, Place, stored, stored_class
from hpcq.results.hdf5_files import check_output, open_sealed, write_sealed
from hpcq.results.json_checks import check_config, check_provenance
from hpcq.results.progress import STAGE_SUMMARY

_UNKNOWN = np.empty(0)
"""Stands for error bounds that were not stored; it becomes NaN for every observable."""

_PER_OBSERVABLE = codecs.numbers("f", lambda at: (len(at.names),))


@stored_class
class Result:
    """Expectation values with their standard errors, and how they were computed.

    Attributes:
        names: Name of each observable.
        expectation_values: Shape (observables,).
        standard_errors: Shape (observables,); 0 for an exact run.
        status: ``complete``, or ``partial`` for a run that was stopped.
        error_bounds: Shape (observables,); the absolute error of each value is at most this, apart
            from its standard error and from rounding in double precision. NaN where no bound is
            known, as for shots.
        method: The method that gave the values, such as ``cut`` or ``pauli``; several are joined by
            ``+``.
        config: The resolved configuration, as plain JSON values.
        provenance: Versions, hosts, ranks and seconds of each phase, as plain JSON values.
        details: Circuit, cuts and tensors, or record of shots; None on ranks other than 0.
    """

    names: tuple[str, ...] = stored("observables/*@name", codecs.TEXT)
    expectation_values: NDArray[np.float64] = stored("results/expectation_values", _PER_OBSERVABLE)
    standard_errors: NDArray[np.float64] = stored(
        "results/standard_errors",
        _PER_OBSERVABLE,
        check=lambda errors, _: "a standard error is negative" if (errors < 0).any() else "",
    )
    status: str = stored("@status", codecs.TEXT, check=codecs.one_of("complete", "partial"))
    config: Mapping[str, Any] = stored("@config", codecs.JSON_OBJECT, check=check_config)
    provenance: Mapping[str, Any] = stored("provenance", codecs.ATTRIBUTES, check=check_provenance)
    error_bounds: NDArray[np.float64] = stored(
        "results/error_bounds",
        _PER_OBSERVABLE,
        check=lambda bounds, _: "an error bound is negative" if (bounds < 0).any() else "",
        default_factory=lambda: _UNKNOWN,
    )
    method: str = stored("method@name", codecs.TEXT, default="cut")
    details: ResultDetails | None = None

    def __post_init__(self) -> None:
        if self.error_bounds is _UNKNOWN:  # files of earlier versions have none
            object.__setattr__(self, "error_bounds", np.full(len(self.names), np.nan))

    def save(self, path: str | Path) -> None:
        """Write the result to an HDF5 file, all or nothing.

        Raises:
            InputError: If the path cannot be written, or holds a file that is not an hpcq result.
            NotWrittenError: If writing fails, for example because the disk is full; the old file
                is kept.
        """
        rewrite(self, check_output(Path(path)))

    def to_json(self) -> str:
        """Return the values as a JSON object on one line; null for NaN and infinite numbers."""
        return json.dumps(_strict(self._plain()), allow_nan=False)

    def to_csv(self) -> str:
        """Return a CSV table with one row per observable; empty for NaN and infinite numbers."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["observable", "expectation_value", "standard_error", "error_bound"])
        arrays = (self.expectation_values, self.standard_errors, self.error_bounds)
        columns = [array.tolist() for array in arrays]
        for name, *row in zip(self.names, *map(_strict, columns), strict=True):
            cells = ["" if value is None else repr(value) for value in row]
            writer.writerow([printable(name), *cells])
        return text.getvalue()

    def to_bytes(self) -> bytes:
        """Return the values for :meth:`from_json`, bit for bit, also NaN and infinite numbers."""
        return json.dumps(self._plain()).encode()

    def _plain(self) -> dict[str, Any]:
        """Return everything but the details as JSON values."""
        values = {name: getattr(self, name) for name in _VALUES}
        arrays = {name: v.tolist() for name, v in values.items() if isinstance(v, np.ndarray)}
        return {"observables": list(self.names), **values, **arrays}

    @classmethod
    def from_json(cls, text: str | bytes) -> Result:
        """Return the result that :meth:`to_json` or :meth:`to_bytes` wrote, without details."""
        data = json.loads(text)
        values = {name: data[name] for name in _VALUES if name in data}
        arrays = {name: np.array(v, dtype=float) for name, v in values.items() if type(v) is list}
        return cls(tuple(data["observables"]), **{**values, **arrays})

    def __str__(self) -> str:
        return values_text(
            self.names, self.expectation_values, self.standard_errors, self.error_bounds
        )


_VALUES = [member.name for member in fields(Result) if member.name not in ("names", "details")]
_SUMMARY = Layout(Result)
_WHOLE = Layout(Result, details=stored("", DETAILS))
_STAGES = stored("unfinished/stages/*", STAGE_SUMMARY, default=()).metadata["stored"]


def rewrite(result: Result, path: Path) -> bytes:
    """Write a result to a path that :func:`check_output` returned, and return the file's seal.

    Raises:
        NotWrittenError: If it cannot be written; the old file is kept.
    """
    return write_sealed(path, _WHOLE, result)


def load(path: str | Path) -> Result:
    """Return the result in a file with its details, except sections of unknown kinds of run.

    Args:
        path: A file that :meth:`hpcq.Result.save` or ``hpcq run -o`` wrote.

    Raises:
        InputError: If the file is missing, damaged or not an hpcq result.
    """
    name = printable_path(path)
    with open_sealed(Path(path)) as file:
        result: Result = _SUMMARY.read(Place(None, file))
        num_subcircuits = len(file["subcircuits"]) if "subcircuits" in file else 0
        paths = ["circuit", *(f"subcircuits/{number}/qpy" for number in range(num_subcircuits))]
        circuits = codecs.load_circuits([file[path] for path in paths], name)
        known = SimpleNamespace(file_name=name, loaded_circuits=circuits)
        details = DETAILS.read(Place(result, file, Place(known, file)))
        return replace(result, details=details)


def load_summary(path: str | Path) -> Result:
    """Return the result in a file without its details; see :func:`load`."""
    return load_progress(path)[0]


def load_progress(path: str | Path) -> tuple[Result, list[dict[str, Any]]]:
    """Return the result in a file without its details, and the stages of a partial run.

    A stage has the keys ``name``, ``total`` and ``done`` (tasks).
    """
    with open_sealed(Path(path)) as file:
        return _SUMMARY.read(Place(None, file)), list(_STAGES.read(Place(None, file)))


def load_fingerprint(path: Path) -> dict[str, str]:
    """Return the fingerprint of the run in a file; empty if there is no file.

    Raises:
        InputError: If the file is damaged or not an hpcq result.
    """
    if not path.exists():
        return {}
    with open_sealed(path) as file:
        return dict(DETAILS.fields["fingerprint"].read(Place(None, file)))


_ROUNDING = 1e-13
"""Values below this are shown as 0: rounding errors of exact runs with coefficients of about 1."""


_SHOWN_BOUND = 1e-12
"""Error bounds up to this are not shown: it is one unit of the last decimal that is shown."""


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
    bounds: Sequence[float] | NDArray[Any],
) -> str:
    """Return a table of values, one line per observable; exact values have no error.

    Bounds as small as rounding errors are left out.

    NaN stands for a value that a partial run has not computed yet.
    """
    shown = [printable(name) for name in _shortened(names)]
    width = max(map(len, shown), default=0)
    lines = []
    for name, value, error, bound in zip(shown, values, errors, bounds, strict=True):
        if math.isnan(value):
            lines.append(f"{name:<{width}}  not yet available")
            continue
        known = f" ± {error:.2g}" if error else ""
        uncertainty = known if math.isfinite(error) else " ± unknown"
        at_most = f" (error at most {bound:.1g})" if _SHOWN_BOUND < bound < math.inf else ""
        lines.append(f"{name:<{width}}  {_number_text(value)}{uncertainty}{at_most}")
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
