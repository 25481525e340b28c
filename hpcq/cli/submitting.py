"""Submitting from Python: the same jobs, and the same words, as on the command line."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.circuits import qpy
from hpcq.cli.old_spellings import DTYPE_OF
from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import read_sidecar, write_atomic
from hpcq.jobs.checks import writable_output
from hpcq.jobs.job import Job

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def submit(
    circuit: QuantumCircuit | str | PathLike[str],
    observables: Any = None,
    *,
    output: str | PathLike[str],
    local: bool = False,
    **options: Any,
) -> Job:
    """Submit a run to SLURM, or leave it in the background of this machine.

    Args:
        circuit: A circuit, or the path of one; a circuit is kept beside the output.
        observables: One or several, as :func:`hpcq.plan` takes them; those that are no text are
            kept beside the output. By default Z on every qubit.
        output: The HDF5 file to write.
        local: Whether to stay on this machine.
        options: Any other option of ``hpcq submit``, with ``_`` for ``-``: ``nodes="1-8"``,
            ``until_done=True``, ``max_qubits=20``. True is an option without a value, a list one
            that is repeated.

    Returns:
        The job.

    Raises:
        InputError: If anything is wrong with it; nothing is submitted then.
        SlurmError: If SLURM refuses it, or is not there.

    Example:
        >>> job = hpcq.submit("circuit.qasm", "Z0 Z5", output="out.h5", nodes=4)  # doctest: +SKIP
        >>> job.result(wait=True).expectation_values  # doctest: +SKIP
        array([0.25])
    """
    from hpcq.cli.arguments import parse
    from hpcq.cli.job_commands import submitted
    from hpcq.cli.main import COMMANDS

    if not isinstance(output, (str, PathLike)) or isinstance(os.fspath(output), bytes):
        raise InputError(f"output: {output!r}, expected a path as text")
    place = writable_output(Path(output))
    words = [f"--output={place}", *_words({**_renewed(options), "local": local})]
    kept = _Kept(place)
    words[:0] = [_path(circuit, kept)]
    try:
        words += _asked(circuit, observables, kept)
        parsed = parse(["submit", *words], COMMANDS)
        job, _ = submitted(parsed)
        if job is None:
            raise InputError("dry_run: given from Python, expected `hpcq submit --dry-run` instead")
    except (HpcqError, SystemExit):
        kept.withdraw()
        raise
    if parsed.notice:  # of the job file, the site file, or a variable
        warnings.warn(parsed.notice, DeprecationWarning, stacklevel=2)
    return job


_REPEATABLE = ("module", "observable", "sbatch", "setup")


class _Kept:
    """Files beside an output that say what to run, each named after what it says.

    So those of a job that waits are never changed by another one that is submitted meanwhile.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._new: list[Path] = []

    def write(self, content: bytes, suffix: str, what: str) -> str:
        """Write a file, unless it is there with the same content, and return its path."""
        name = f".{self._output.name}.{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
        place = self._output.with_name(name)
        held = None
        with suppress(OSError):
            held = read_sidecar(place, len(content))
        if held != content:
            write_atomic(place, content, what)
            self._new.append(place)
        return str(place)

    def withdraw(self) -> None:
        """Remove what this submission wrote: nothing was submitted."""
        for place in self._new:
            place.unlink(missing_ok=True)


def _renewed(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with the new names of those that were renamed; old ones give a warning.

    Raises:
        InputError: If one is given by its old and its new name.
    """
    renewed = dict(options)
    for old in ("partition", "precision"):
        given = renewed.pop(old, None)
        for value in given if isinstance(given, (list, tuple)) else [given]:
            if value is None:
                continue
            new = "cut_labels" if old == "partition" else "target_error"
            if old == "precision" and isinstance(value, str) and value in DTYPE_OF:
                new, value = "dtype", DTYPE_OF[value]
            if new in renewed:
                raise InputError(f"{old}, {new}: given together, expected {new} alone")
            renewed[new] = value
            message = f"hpcq.submit: the option {old} is now {new}; {old} still works"
            warnings.warn(message, DeprecationWarning, stacklevel=3)
    return renewed


def _words(options: dict[str, Any]) -> list[str]:
    """Return options as words of the command line.

    Raises:
        InputError: If one has several values where one is expected.
    """
    words = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if name == "help":
            raise InputError("help: it is no option from Python, expected help(hpcq.submit)")
        if isinstance(value, (list, tuple)) and name not in _REPEATABLE:
            raise InputError(f"{name}: {value!r}, expected one value")
        for own in value if isinstance(value, (list, tuple)) else [value]:
            if own is True:
                words.append(option)
            elif own is not None and own is not False:
                words.append(f"{option}={own}")
    return words


def _path(circuit: Any, kept: _Kept) -> str:
    """Return the path of a circuit; one that is none yet is written."""
    if isinstance(circuit, str) or (
        isinstance(circuit, PathLike) and isinstance(os.fspath(circuit), str)
    ):
        path = os.fspath(circuit)
        return f"./{path}" if path.startswith("-") else path
    from qiskit import QuantumCircuit

    if not isinstance(circuit, QuantumCircuit):
        shown = repr(circuit)[:40]
        raise InputError(f"circuit: {shown}, expected a QuantumCircuit, or the path of one")
    return kept.write(qpy.dump(circuit), ".qpy", "circuit")


def _asked(circuit: Any, observables: Any, kept: _Kept) -> list[str]:
    """Return the options for observables; what is no text is written to a file."""
    if observables is None:
        return []
    several = observables if isinstance(observables, Sequence) else [observables]
    several = [observables] if isinstance(observables, str) else list(several)
    if all(isinstance(own, str) for own in several):
        return [f"--observable={own}" for own in several]
    from hpcq.circuits.observables import as_observables, render
    from hpcq.circuits.reader import read_circuit

    if isinstance(circuit, (str, PathLike)):
        circuit = read_circuit(circuit)
    width = circuit.num_qubits
    content = [
        {"name": own.name, "terms": [[render(term, width), value] for term, value in own.terms]}
        for own in as_observables(several, width)
    ]
    place = kept.write(json.dumps(content).encode(), ".observables.json", "observables")
    return [f"--observables={place}"]
