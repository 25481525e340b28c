"""Submission from Python, by way of the command line of ``hpcq submit``."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.circuits import qpy
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
    parameter_values: Any = None,
    **options: Any,
) -> Job:
    """Submit a run to SLURM, or start it in the background of this machine.

    Args:
        circuit: A circuit, which is saved beside the output, or the path of one.
        observables: One or several, as :func:`hpcq.plan` takes them; operators are saved beside the
            output. By default Z on every qubit.
        output: The HDF5 file to write.
        local: Whether to run on this machine, without SLURM.
        parameter_values: Values of free parameters, which are saved beside the output: a mapping
            from names to values, or rows as :func:`hpcq.run` takes them.
        options: Any other option of ``hpcq submit``, with ``_`` for ``-``: ``nodes="1-8"``,
            ``until_done=True``, ``max_qubits=20``. True stands for an option without a value, a
            list for a repeated option.

    Returns:
        The job.

    Raises:
        InputError: If an argument is wrong; nothing is submitted.
        SlurmError: If SLURM is missing, or refuses the job.

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
    path = writable_output(Path(output))
    arguments = [f"--output={path}", *_as_arguments({**options, "local": local})]
    input_files = _InputFiles(path)
    arguments[:0] = [_circuit_argument(circuit, input_files)]
    try:
        arguments += _observable_arguments(circuit, observables, input_files)
        arguments += _parameter_arguments(circuit, parameter_values, input_files)
        parsed = parse(["submit", *arguments], COMMANDS)
        job, _ = submitted(parsed)
        if job is None:
            raise InputError("dry_run: given from Python, expected `hpcq submit --dry-run` instead")
    except (HpcqError, SystemExit):
        input_files.remove_written()
        raise
    if parsed.notice:
        warnings.warn(parsed.notice, DeprecationWarning, stacklevel=2)
    return job


_REPEATABLE = ("module", "observable", "parameter", "precision", "sbatch", "setup")


class _InputFiles:
    """Input files of a job beside its output, named by the digest of their content.

    A later submission for the same output thus never changes the input of a waiting job.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._written: list[Path] = []

    def write(self, content: bytes, suffix: str, what: str) -> str:
        """Write a file, unless it exists with the same content, and return its path."""
        name = f".{self._output.name}.{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
        path = self._output.with_name(name)
        held = None
        with suppress(OSError):
            held = read_sidecar(path, len(content))
        if held != content:
            write_atomic(path, content, what)
            self._written.append(path)
        return str(path)

    def remove_written(self) -> None:
        """Remove the files that this submission has written."""
        for path in self._written:
            path.unlink(missing_ok=True)


def _as_arguments(options: dict[str, Any]) -> list[str]:
    """Return options as arguments of the command line."""
    arguments = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if name == "help":
            raise InputError("help: not an option in Python, expected help(hpcq.submit)")
        if isinstance(value, (list, tuple)) and name not in _REPEATABLE:
            raise InputError(f"{name}: {value!r}, expected one value")
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if each is True:
                arguments.append(option)
            elif each is not None and each is not False:
                arguments.append(f"{option}={each}")
    return arguments


def _circuit_argument(circuit: Any, input_files: _InputFiles) -> str:
    """Return the path of a circuit; a circuit object is written to a file."""
    path = os.fspath(circuit) if isinstance(circuit, (str, PathLike)) else None
    if isinstance(path, str):
        return f"./{path}" if path.startswith("-") else path
    from qiskit import QuantumCircuit

    if not isinstance(circuit, QuantumCircuit):
        shown = repr(circuit)[:40]
        raise InputError(f"circuit: {shown}, expected a QuantumCircuit, or the path of one")
    return input_files.write(qpy.dump(circuit), ".qpy", "circuit")


def _observable_arguments(circuit: Any, observables: Any, input_files: _InputFiles) -> list[str]:
    """Return the arguments for observables; operators are written to a file."""
    if observables is None:
        return []
    is_one = isinstance(observables, str) or not isinstance(observables, Sequence)
    several = [observables] if is_one else list(observables)
    if all(isinstance(each, str) for each in several):
        return [f"--observable={text}" for text in several]
    from hpcq.circuits.observables import as_observables
    from hpcq.circuits.pauli_text import render
    from hpcq.circuits.reader import read_circuit

    if isinstance(circuit, (str, PathLike)):
        circuit = read_circuit(circuit)
    width, content = circuit.num_qubits, []
    for each in as_observables(several, width):
        terms = [[render(term, width), value] for term, value in each.terms]
        content.append({"name": each.name, "terms": terms})
    path = input_files.write(json.dumps(content).encode(), ".observables.json", "observables")
    return [f"--observables={path}"]


def _parameter_arguments(circuit: Any, given: Any, input_files: _InputFiles) -> list[str]:
    """Return the arguments for values of parameters, which are written to a file."""
    if given is None:
        return []
    from hpcq.circuits.assignment import ParameterNames
    from hpcq.circuits.reader import read_circuit

    if isinstance(circuit, (str, PathLike)):
        circuit = read_circuit(circuit)
    parameters = circuit.parameters
    names = ParameterNames([each.name for each in parameters], "parameter_values", parameters)
    if isinstance(given, Mapping):
        content: Any = names.numbers(given)
    else:
        rows = names.table(given).tolist()
        content = [dict(zip(names.names, row, strict=True)) for row in rows]
    path = input_files.write(json.dumps(content).encode(), ".parameters.json", "parameter_values")
    return [f"--parameters={path}"]
