"""``hpcq run`` of several circuits: one job, and a folder with a result for each."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.cli import requests
from hpcq.cli.parameter_values import ParameterValues
from hpcq.core.errors import InputError
from hpcq.core.files import open_regular, printable_lines, printable_path
from hpcq.core.limits import check_threads
from hpcq.core.system import usable_cores
from hpcq.parallel.world import abort_on_error
from hpcq.planning.kind import Kind, kind_for, kind_of
from hpcq.planning.machine_speeds import read_speeds
from hpcq.planning.problem import question_about
from hpcq.runs.arguments import RunArguments
from hpcq.runs.collective import all_ranks_or_none, from_rank_0
from hpcq.runs.many.circuit_runs import CircuitRuns, Reporter
from hpcq.runs.many.circuit_tasks import CircuitTasks
from hpcq.runs.many.job import ManyCircuitsJob
from hpcq.runs.many.manifest import Entry, Manifest
from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.rank_devices import choose_rank_device, min_rank_resources

if TYPE_CHECKING:
    from hpcq.parallel.serial import Farm
    from hpcq.planning.plan import Plan
    from hpcq.results.result import Result

_MAX_OPTION_FILE_BYTES = 1 << 62
"""Bytes of a file of observables or cuts, in effect unlimited: its reader has its own limit."""


def run_many(options: argparse.Namespace, farm: Farm, start_time: float) -> int:
    """Run several circuits with the same options, which all ranks have; collective.

    ``start_time`` is when the time limit began to count, on the clock of ``time.monotonic``.

    Raises:
        InputError: If an option is wrong for any circuit.
        StoppedError: If the job was stopped; finished work is saved.
        HpcqError: If circuits failed.
    """
    with abort_on_error(farm):
        values = from_rank_0(farm, lambda: ParameterValues.of(options)) or ParameterValues()
        options.values, options.parameter_values = values, values.rows
        arguments = replace(RunArguments.among(vars(options)), output=None)
        printer = _Printer(as_json=options.json, num_circuits=1 + len(options.more_circuits))
        runs = from_rank_0(farm, lambda: _open(options, printer))
        cores, memory = min_rank_resources(farm, options.device)
        all_ranks_or_none(farm, lambda: check_threads(options.threads or 1, len(usable_cores())))
        device = "cpu" if options.backend else choose_rank_device(farm, options.device)
        tasks = None
        if runs is not None:
            planner = OptionsPlanner.of(options, cores, memory)
            tasks = CircuitTasks(planner, arguments, farm.size)
        stop_conditions = all_ranks_or_none(
            farm, lambda: arguments.stop_conditions(farm.rank, start_time)
        )
        stream = None if runs is None else sys.stderr
        ManyCircuitsJob(farm, arguments, device, stop_conditions, stream).run(runs, tasks)
    printer.raise_error()
    return 0


@dataclass(frozen=True, eq=False)
class OptionsPlanner:
    """Makes plans with the options of the command line, on any rank.

    Attributes:
        options: The options.
        cores: Cores that every rank has at least.
        memory: Bytes of memory that every rank has at least.
        speeds: Speeds of rank 0's machine, so that plans do not depend on where they are made.
    """

    options: Mapping[str, Any]
    cores: int
    memory: int
    speeds: Mapping[str, Any]

    @classmethod
    def of(cls, options: argparse.Namespace, cores: int, memory: int) -> OptionsPlanner:
        """Return the planner for ranks with these resources."""
        left_out = ("command", "parameter_values")
        values = {name: value for name, value in vars(options).items() if name not in left_out}
        limits = requests.limits_for(options, cores, memory)
        speeds = asdict(read_speeds(replace(limits, threads=1)))
        return cls(values, cores, memory, speeds)

    def kind(self) -> Kind:
        """Return the kind of all runs."""
        options = argparse.Namespace(**self.options)
        budget, method = requests.budget_for(options), requests.method_for(options)
        return kind_for(question_about((), budget, method))

    def plan(self, circuit: str, known: Mapping[str, Any] | None) -> Plan:
        """Read a circuit and return its plan; see :class:`CircuitTasks`."""
        from hpcq.circuits.reader import read_circuit
        from hpcq.planning.planner import plan_normalised

        options = argparse.Namespace(**self.options)
        path = requests.circuit_path(circuit)
        read = options.values.assign(read_circuit(path, seconds=options.read_seconds))
        limits = requests.limits_for(options, self.cores, self.memory)
        how = requests.plan_arguments(read, options, requests.plan_limits(known, options, limits))
        plan = plan_normalised(read, earlier=known or {"speeds": self.speeds}, **how)
        with_limits: Plan = kind_of(plan).with_limits(plan, limits)
        return with_limits


def _open(options: argparse.Namespace, printer: _Printer) -> CircuitRuns:
    """Check the options, and open the outputs of all circuits; on rank 0."""
    circuits = [options.circuit, *options.more_circuits]
    if options.shared:
        raise InputError(
            "shared: given with several circuits or a folder, expected one circuit and one file; "
            "jobs that each run some of the circuits may write to one folder"
        )
    requests.check_shot_engine(options)
    question_about((), requests.budget_for(options), requests.method_for(options))
    for name, what in (("observables", "observables as JSON"), ("cuts", "cuts as JSON")):
        if getattr(options, name) is not None:
            os.close(open_regular(getattr(options, name), _MAX_OPTION_FILE_BYTES, what))
    arguments = RunArguments.among(vars(options))
    outputs: list[RunOutput | InputError]
    if options.output is None:
        entries = [Entry(circuit) for circuit in circuits]
        outputs = [NoOutput() for _ in circuits]
        manifest = Manifest(entries, None)
    else:
        files = _file_names(circuits)
        folder = _make_folder(Path(options.output))
        manifest = Manifest([*map(Entry, circuits, files)], folder)
        outputs = [_open_output(arguments, folder / file) for file in files]
    return CircuitRuns(manifest, outputs, Reporter(printer.print_result, printer.log))


def _file_names(circuits: Sequence[str]) -> list[str]:
    """Return the name of each circuit's result.

    Raises:
        InputError: If two circuits would write the same file.
    """
    circuit_of: dict[str, str] = {}
    for circuit in circuits:
        file = f"{Path(circuit.removeprefix('example:')).stem}.h5"
        other = circuit_of.setdefault(file, circuit)
        if other is not circuit:
            names = f"{printable_path(other)!r} and {printable_path(circuit)!r}"
            raise InputError(
                f"circuit: {names} would both write {printable_path(file)!r}, expected different "
                "names, or one command for each"
            )
    return list(circuit_of)


def _make_folder(path: Path) -> Path:
    """Return the folder of the results, which is made if it is missing."""
    name = printable_path(path)
    expected = "a folder for the results of several circuits"
    try:
        if path.suffix == ".h5" and not path.is_dir():
            raise InputError(f"output: {name!r}, expected {expected}")
        path.mkdir(exist_ok=True)
    except FileExistsError:
        raise InputError(f"output: {name!r} is a file, expected {expected}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"output: cannot make the folder {name!r}: {reason}") from None
    return path


def _open_output(arguments: RunArguments, file: Path) -> RunOutput | InputError:
    """Return the output of a circuit, or why it cannot be used."""
    try:
        return replace(arguments, output=file).open_output()
    except InputError as error:
        return error


class _Printer:
    """Prints results as they come, until that fails, for example because a pipe was closed."""

    def __init__(self, *, as_json: bool, num_circuits: int) -> None:
        self._as_json, self._num_circuits = as_json, num_circuits
        self._num_printed = 0
        self._error: OSError | None = None

    def print_result(self, circuit: str, result: Result) -> None:
        """Print a result: a line of JSON, or a heading and a table."""
        if self._error is not None:
            return
        if self._as_json:
            text = json.dumps({"circuit": circuit, **json.loads(result.to_json())})
        else:
            gap = "\n" if self._num_printed else ""
            text = f"{gap}{printable_path(circuit)}\n{result}"
        self._num_printed += 1
        try:
            print(text, flush=True)
        except OSError as error:
            self._error = error

    def log(self, line: str) -> None:
        """Print a message to stderr."""
        try:
            sys.stderr.write(f"hpcq: {printable_lines(line)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # nobody reads it; the manifest says the same
            return

    def raise_error(self) -> None:
        """Raise the error that printing ended with, if any."""
        if self._error is not None:
            raise self._error
