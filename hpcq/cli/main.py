"""The command ``hpcq``: its commands, their exit codes, and which rank prints."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.cli import requests
from hpcq.cli.arguments import parse
from hpcq.cli.flags import Command
from hpcq.cli.settings import share_settings
from hpcq.core.errors import HpcqError, InputError, MissingDependencyError
from hpcq.core.files import printable
from hpcq.core.system import is_launched, launched_rank, rank_name, write_stderr

if TYPE_CHECKING:
    from hpcq.circuits.reader import CircuitReader
    from hpcq.planning.plan import Plan
    from hpcq.results.result import Result
    from hpcq.runs.output import RunOutput
    from hpcq.runs.session import Session


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    0: done. 2: wrong input or usage, with one line on stderr. 75: stopped early with everything
    saved; the same command resumes the run. 1: any other failure.
    """
    code = _main(arguments)
    farm = sys.modules.get("hpcq.parallel.mpi")
    if farm is not None:
        farm.exit_after_loss(code)
    return code


def _main(arguments: Sequence[str] | None) -> int:
    is_first = launched_rank() == 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode shows the result too
    notice = ""
    try:
        collective_commands = (_plan, _run, _sample, _minimize) if is_launched() else ()
        options = parse(
            sys.argv[1:] if arguments is None else arguments, COMMANDS, collective_commands
        )
        notice = options.notice
        if not is_first and options.command in _SINGLE_PROCESS_COMMANDS:
            # A program that was started by a rank needs to know why its call does nothing.
            write_stderr(f"hpcq: rank {launched_rank()} leaves this to rank 0")
            return 0
        code: int = options.command(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        if notice and _is_rank_0():
            write_stderr(notice)
        return code
    except HpcqError as error:
        _print_error(error, notice)
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("hpcq: interrupted\n")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.stderr.write(f"hpcq: error: cannot print: {error.strerror}\n")
        return 1


def _print_error(error: HpcqError, notice: str) -> None:
    """Print an error on one rank, in one line, and let all ranks end with its exit code."""
    if is_launched():
        # The ranks end together. A launcher that sees one fail sends SIGTERM to the others,
        # and theirs would be the exit code that it passes on.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if notice and error.exit_code != InputError.exit_code and _is_rank_0():
        write_stderr(notice)  # wrong input gets one line, which is the error
    if _is_rank_0() or error.on_one_rank:
        who = f"{rank_name()}: " if error.on_one_rank and rank_name() else ""
        sys.stderr.write(f"hpcq: error: {who}{printable(' '.join(str(error).split()))}\n")
        if error.on_one_rank and isinstance(error, MissingDependencyError):
            from hpcq.parallel.launcher import abort_launch

            abort_launch(error.exit_code)


def _is_rank_0() -> bool:
    """Whether this is rank 0: according to MPI or, before it is initialized, to the launcher."""
    # The launcher's variables may be wrong.
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
        return bool(mpi.COMM_WORLD.Get_rank() == 0)
    return launched_rank() == 0


def _plan(options: argparse.Namespace) -> int:
    from hpcq.cli.outcome_requests import check_outcomes
    from hpcq.cli.parameter_values import ParameterValues
    from hpcq.core.files import write_atomic
    from hpcq.cutting.cuts import check_cuts_file
    from hpcq.parallel.world import abort_on_error, open_farm
    from hpcq.planning.description import pareto_json, pareto_text
    from hpcq.planning.kind import kind_of

    paths: dict[str, Path] = {}

    def check() -> None:
        options.values = ParameterValues.of(options, required=False)
        if options.outcomes:
            check_outcomes(options)
        if options.pareto and options.max_qubits is None:
            raise InputError("pareto: given without a width limit, expected --max-qubits too")
        if options.save is not None:
            paths["save"] = check_cuts_file(Path(options.save))
        if options.draw is not None:
            from hpcq.reports.drawing import check_drawing

            paths["draw"] = check_drawing(Path(options.draw))
        if len(set(paths.values())) < len(paths):
            raise InputError(f"draw: {options.draw[:80]!r} is the file of --save, expected another")

    reader = requests.start_reading_circuit(options)
    farm = open_farm()
    with abort_on_error(farm):
        share_settings(options, farm)
        plans = requests.make_plans(options, reader, farm, check)
    if not plans:
        return 0
    plan = plans[0]
    if "save" in paths:
        if plan.engines:
            raise InputError(
                f"save: the plan simulates parts by {', '.join(plan.engines)}, which a file of "
                "cuts cannot express; expected --method cut, or a width limit (--max-qubits)"
            )
        write_atomic(paths["save"], f"{plan.cuts.to_json()}\n".encode(), "save")
    if "draw" in paths:
        from hpcq.reports.drawing import draw_plan

        draw_plan(plan, paths["draw"])
    if options.json:
        pareto = pareto_json(plans) if options.pareto else {}
        print(json.dumps({**kind_of(plan).to_json(plan), **pareto}))
    else:
        print(str(plan) + (f"\n\n{pareto_text(plans)}" if options.pareto else ""))
    return 0


def _run(options: argparse.Namespace) -> int:
    start_time = time.monotonic()
    options.is_for_many = requests.is_for_many(options)
    reader = None if options.is_for_many else requests.start_reading_circuit(options)
    from hpcq.parallel.world import abort_on_error
    from hpcq.runs.session import Session

    session = Session()
    with abort_on_error(session.farm):
        share_settings(options, session.farm)
    if options.is_for_many:  # as rank 0 says, which has read the job file
        from hpcq.cli.many_circuits import run_many

        return run_many(options, session.farm, start_time)
    return _run_one(options, reader, session, start_time)


def _sample(options: argparse.Namespace) -> int:
    start_time = time.monotonic()
    reader = requests.start_reading_circuit(options)
    from hpcq.parallel.world import abort_on_error
    from hpcq.runs.session import Session

    session = Session()
    with abort_on_error(session.farm):
        share_settings(options, session.farm)
    return _run_one(options, reader, session, start_time)


def _run_one(
    options: argparse.Namespace,
    reader: CircuitReader | InputError | None,
    session: Session,
    start_time: float,
) -> int:
    """Run one circuit with options that all ranks have; collective."""
    from hpcq.cli.parameter_values import ParameterValues
    from hpcq.parallel.world import abort_on_error
    from hpcq.planning.kind import kind_for
    from hpcq.runs.arguments import RunArguments
    from hpcq.runs.collective import from_rank_0
    from hpcq.runs.output import NoOutput

    farm = session.farm
    is_first = farm.rank == 0
    with abort_on_error(farm):
        values = from_rank_0(farm, lambda: ParameterValues.of(options)) or ParameterValues()
    options.values, options.parameter_values = values, values.rows
    arguments = RunArguments.among(vars(options))
    options.previous = options.known = None

    def make_plan() -> tuple[Plan | None, RunOutput]:
        output: RunOutput = NoOutput()

        def check() -> None:
            nonlocal output
            requests.check_asked(options)
            output = arguments.open_output()
            kind = kind_for(requests.question_for(options))
            options.previous = output.load_previous(kind)
            options.known = output.planned_settings()

        try:
            plans = requests.make_plans(options, reader, farm, check, to_run=True)
            from_rank_0(farm, lambda: output.publish_settings(plans[0].config))
        except HpcqError:
            output.close()
            raise
        return plans[0] if plans else None, output

    results: list[Result] = []
    failure: HpcqError | None = None
    stop_conditions = arguments.stop_conditions(farm.rank, start_time)
    stream = sys.stderr if is_first else None
    try:
        results.append(
            session.plan_and_run(arguments, stop_conditions, make_plan, stream, results.append)
        )
    except HpcqError as error:
        failure = error
    if is_first and results:  # even if saving failed
        from hpcq.reports.result import result_json, result_table

        estimated = requests.estimated_outcomes(results[0], options)
        shown = result_json if options.json else result_table
        print(shown(results[0], estimated), flush=True)
    if failure is not None:
        raise failure
    return 0


def _show(options: argparse.Namespace) -> int:
    from hpcq.reports.result import result_csv, result_json
    from hpcq.reports.text import result_text
    from hpcq.results import load, load_progress

    if Path(options.file).is_dir():
        return _show_folder(options)
    result, stages = load_progress(options.file)
    if result.config.get("mode") == "outcomes":  # they are among the details
        result = load(options.file)
    if options.json:
        print(result_json(result))
    elif options.csv:
        print(result_csv(result), end="")
    else:
        print(result_text(result, stages))
    return 0


def _show_folder(options: argparse.Namespace) -> int:
    """Print the manifest of many circuits."""
    from hpcq.reports.many_circuits import circuits_csv, circuits_json, circuits_text
    from hpcq.runs.many.manifest import read_manifest

    entries = read_manifest(Path(options.file))
    if options.json:
        print(circuits_json(entries))
    elif options.csv:
        print(circuits_csv(entries), end="")
    else:
        print(circuits_text(entries))
    return 0


def _minimize(options: argparse.Namespace) -> int:
    from hpcq.cli.minimize_command import minimize

    return minimize(options)


def _exec(options: argparse.Namespace) -> int:
    from hpcq.loop.exec_script import exec_script

    return exec_script(options.script, options.script_arguments, options.source)


def _doctor(options: argparse.Namespace) -> int:
    if options.srun_mpi:
        from hpcq.doctor.srun_mpi import suitable_plugin_here

        if launched_rank() == 0:
            print(suitable_plugin_here())
        return 0
    from hpcq.doctor.machine_checks import calibrate, examine

    findings = calibrate(options.threads) if options.calibrate else []
    findings += examine()
    if launched_rank() == 0:
        print("\n".join(map(str, findings)))
    else:
        for finding in findings:
            if not finding.ok:
                write_stderr(f"hpcq: {rank_name()}: {finding}")
    return 0 if all(finding.ok for finding in findings) else 1


def _job_command(name: str, options: argparse.Namespace) -> int:
    from hpcq.cli import job_commands as commands  # only now: it takes long

    code: int = getattr(commands, name)(options)
    return code


_JOB_COMMANDS = {
    name: partial(_job_command, name) for name in ("submit", "status", "logs", "cancel", "result")
}
_SINGLE_PROCESS_COMMANDS = (_show, *_JOB_COMMANDS.values())
COMMANDS: dict[str, Command] = {
    "plan": _plan,
    "run": _run,
    "sample": _sample,
    "minimize": _minimize,
    "exec": _exec,
    "show": _show,
    **_JOB_COMMANDS,
    "doctor": _doctor,
}
