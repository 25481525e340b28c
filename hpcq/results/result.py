"""The result of a run: values, standard errors, and where they come from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.files import printable_path
from hpcq.core.strict_json import without_nan
from hpcq.results import hdf5_codecs as codecs
from hpcq.results.details import DETAILS, ResultDetails
from hpcq.results.hdf5_fields import Layout, Place, stored, stored_class
from hpcq.results.hdf5_files import check_output, open_sealed, write_sealed
from hpcq.results.json_checks import check_config, check_provenance
from hpcq.results.outcome_record import OutcomeRecord
from hpcq.results.parameter_rows import PARAMETER_ROWS, ParameterRows, per_observable
from hpcq.results.progress import STAGE_SUMMARY
from hpcq.results.tables import Arrays, csv_table, text_table

_UNKNOWN = np.empty(0)
"""Stands for error bounds that were not stored; it becomes NaN for every observable."""

_PER_OBSERVABLE = codecs.numbers("f", per_observable)


@stored_class
class Result:
    """Expectation values with their standard errors, and how they were computed.

    Attributes:
        names: Name of each observable.
        expectation_values: Shape (observables,), or (rows, observables) with rows of parameters.
        standard_errors: The same shape; 0 for an exact run.
        status: ``complete``, or ``partial`` for a run that was stopped.
        error_bounds: The same shape; the absolute error of each value is at most this, apart from
            its standard error and from rounding in double precision. NaN where no bound is known,
            as for shots.
        method: The method that gave the values, such as ``cut`` or ``pauli``; several are joined by
            ``+``.
        engine: The engines of the run, separated by commas; None in files of earlier versions.
        engines: For each subcircuit, the method of its simulation, such as ``statevector``; empty
            if nothing was cut, and None in files of earlier versions.
        reason: Why the method was chosen; None in files of earlier versions.
        predicted_seconds: Predicted wall time; NaN if it was not predicted.
        taken_seconds: Wall time of all starts of the run until now; NaN if it is not known.
        config: The resolved configuration, as plain JSON values.
        provenance: Versions, hosts, ranks and seconds of each phase, as plain JSON values.
        parameters: The values of free parameters, in rows; None if there were no rows.
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
    engine: str | None = stored("method@engine", codecs.TEXT, default=None)
    engines: tuple[str | None, ...] = stored(
        "subcircuits/*@engine", codecs.TEXT, default=(), gaps=True
    )
    reason: str | None = stored("method@why", codecs.TEXT, default=None)
    predicted_seconds: float = stored("method@predicted_seconds", codecs.NUMBER, default=math.nan)
    taken_seconds: float = stored("method@taken_seconds", codecs.NUMBER, default=math.nan)
    parameters: ParameterRows | None = stored("parameters", PARAMETER_ROWS, default=None)
    details: ResultDetails | None = None

    def __post_init__(self) -> None:
        if self.error_bounds is _UNKNOWN:  # files of earlier versions have none
            object.__setattr__(self, "error_bounds", np.full_like(self.expectation_values, np.nan))

    @property
    def outcomes(self) -> OutcomeRecord | None:
        """The outcomes of a run that was asked for them; None on ranks other than 0."""
        return None if self.details is None else self.details.section(OutcomeRecord)

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
        return json.dumps(without_nan(self._plain()), allow_nan=False)

    def to_csv(self) -> str:
        """Return a CSV table; see :func:`hpcq.results.tables.csv_table`."""
        return csv_table(self.names, self._arrays, self.parameters)

    def to_bytes(self) -> bytes:
        """Return the values for :meth:`from_json`, bit for bit, also NaN and infinite numbers."""
        return json.dumps(self._plain()).encode()

    def _plain(self) -> dict[str, Any]:
        """Return everything but the details as JSON values; no parameters if there are no rows."""
        values = {name: getattr(self, name) for name in _VALUES}
        arrays = {name: v.tolist() for name, v in values.items() if isinstance(v, np.ndarray)}
        rows = {} if self.parameters is None else {"parameters": self.parameters.to_json()}
        return {"observables": list(self.names), **values, **arrays, **rows}

    @classmethod
    def from_json(cls, text: str | bytes) -> Result:
        """Return the result that :meth:`to_json` or :meth:`to_bytes` wrote, without details."""
        data = json.loads(text)
        values = {name: data[name] for name in _VALUES if name in data}
        arrays = {name: np.array(values[name], dtype=float) for name in _ARRAYS if name in values}
        seconds = {name: math.nan for name in _SECONDS if values.get(name) is None}
        rows = data.get("parameters")
        return cls(
            tuple(data["observables"]),
            **{**values, **arrays, **seconds, "engines": tuple(values.get("engines", ()))},
            parameters=None if rows is None else ParameterRows.from_json(rows),
        )

    def __str__(self) -> str:
        return text_table(self.names, self._arrays, self.parameters)

    @property
    def _arrays(self) -> Arrays:
        return self.expectation_values, self.standard_errors, self.error_bounds


_NOT_PLAIN = ("names", "parameters", "details")
_VALUES = [member.name for member in fields(Result) if member.name not in _NOT_PLAIN]
_ARRAYS = ("expectation_values", "standard_errors", "error_bounds")
_SECONDS = ("predicted_seconds", "taken_seconds")
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
