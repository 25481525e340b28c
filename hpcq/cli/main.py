"""The command ``hpcq``: what its commands do, exit codes, and who prints what; nothing else."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.cli import requests as asked
from hpcq.cli.arguments import parse
from hpcq.cli.settings import agree
from hpcq.core.errors import HpcqError, InputError, MissingDependencyError
from hpcq.core.files import printable
from hpcq.core.system import is_launched, launched_rank, rank_name, write_stderr

if TYPE_CHECKING:
    from hpcq.planning.assembly import Plan
    from hpcq.results.result import Result
    from hpcq.runs.checkpoint import Checkpoint


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 2: the input or the usage is wrong, with one line on stderr. 75: stopped early, all
    that was done is saved, run the same command again to go on. 1: anything else.
    """
    code = _main(arguments)
    farm = sys.modules.get("hpcq.parallel.mpi")
    if farm is not None:
        farm.leave(code)
    return code


def _main(arguments: Sequence[str] | None) -> int:
    first = launched_rank() == 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode loses no result
    notice = ""
    try:
        together = (_plan, _run) if is_launched() else ()
        options = parse(sys.argv[1:] if arguments is None else arguments, COMMANDS, together)
        notice = options.notice
        if not first and options.command in _FOR_ONE:
            # What one process does, rank 0 does; a program that a rank starts must not wonder.
            write_stderr(f"hpcq: rank {launched_rank()} leaves this to rank 0")
            return 0
        code: int = options.command(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        if notice and _speaks():
            write_stderr(notice)
        return code
    except HpcqError as error:
        if is_launched():
            # The ranks end together. A launcher that sees one fail sends SIGTERM to the others,
            # and theirs would be the exit code that it passes on.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if notice and error.exit_code != InputError.exit_code and _speaks():
            write_stderr(notice)  # wrong input gets one line, which is the error
        if _speaks() or error.on_one_rank:
            who = f"{rank_name()}: " if error.on_one_rank and rank_name() else ""
            sys.stderr.write(f"hpcq: error: {who}{printable(' '.join(str(error).split()))}\n")
            if error.on_one_rank and isinstance(error, MissingDependencyError):
                from hpcq.parallel.launcher import abort_launch

                abort_launch(error.exit_code)
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


def _speaks() -> bool:
    """Whether this process says what all ranks know: rank 0 of MPI's world, once that is there.

    Before, the launcher's variables have to tell; they may be wrong, and then nobody would speak.
    """
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
        return bool(mpi.COMM_WORLD.Get_rank() == 0)
    return launched_rank() == 0


def _plan(options: argparse.Namespace) -> int:
    from hpcq.core.files import write_atomic
    from hpcq.cutting.cuts import check_cuts_file
    from hpcq.parallel.world import ending_the_job, open_farm
    from hpcq.planning.description import pareto_json, pareto_text, plan_json, plan_text

    places: dict[str, Path] = {}

    def check() -> None:
        if options.pareto and options.max_qubits is None:
            raise InputError("pareto: it needs a width to start from, expected --max-qubits too")
        if options.save is not None:
            places["save"] = check_cuts_file(Path(options.save))
        if options.draw is not None:
            from hpcq.reports.drawing import check_drawing

            places["draw"] = check_drawing(Path(options.draw))
        if len(set(places.values())) < len(places):
            raise InputError(f"draw: {options.draw[:80]!r} is where --save goes too")

    reader = asked.read_ahead(options)
    farm = open_farm()
    with ending_the_job(farm):
        agree(options, farm)
        front = asked.planned(options, reader, farm, check)
    if not front:
        return 0
    plan = front[0]
    if "save" in places:
        write_atomic(places["save"], f"{plan.cuts.to_json()}\n".encode(), "save")
    if "draw" in places:
        from hpcq.reports.drawing import draw_plan

        draw_plan(plan, places["draw"])
    if options.json:
        print(json.dumps({**plan_json(plan), **(pareto_json(front) if options.pareto else {})}))
    else:
        print(plan_text(plan) + (f"\n\n{pareto_text(front)}" if options.pareto else ""))
    return 0


def _run(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    reader = asked.read_ahead(options)
    from hpcq.kinds.running import checkpoint_for, run_on_farm
    from hpcq.parallel.world import end_before, ending_the_job, open_farm
    from hpcq.runs.collective import from_rank_0
    from hpcq.runs.options import RunOptions
    from hpcq.runs.progress import ProgressMonitor
    from hpcq.runs.stop_conditions import StopConditions

    checkpoints: list[Checkpoint] = []
    options.previous = options.known = None

    def check() -> None:
        asked.measuring(options)
        claim_seconds = options.claim_seconds if options.shared else None
        checkpoint = checkpoint_for(options.output, options.checkpoint_seconds, claim_seconds)
        if checkpoint is not None:
            checkpoints.append(checkpoint)
            mode = "exact" if asked.budget_for(options) is None else "shots"
            options.previous = checkpoint.load_previous(mode)
            options.known = checkpoint.planned_settings(options.previous)

    plans: list[Plan] = []

    def settle() -> None:
        for plan, own in zip(plans, checkpoints, strict=False):
            own.publish_settings(plan.config)

    found: list[Result] = []

    def finish(result: Result) -> None:
        found.append(result)
        for checkpoint in checkpoints:
            checkpoint.finish(result)
            watch.log(f"wrote {checkpoint.path}")

    farm = open_farm()
    first = farm.rank == 0
    with ending_the_job(farm):
        agree(options, farm)
    signs = StopConditions(
        options.time_limit, options.stop_signal, since=begun, check_allocation=first
    )
    with ending_the_job(farm), signs:
        with signs.before_start(lambda reason: end_before(farm, reason)):
            try:
                plans += asked.planned(options, reader, farm, check, to_run=True)
                from_rank_0(farm, settle)
            except HpcqError:
                for own in checkpoints:
                    own.withdraw()
                raise
        checkpoint = checkpoints[0] if checkpoints else None
        watch = ProgressMonitor(signs, checkpoint, sys.stderr if first else None)
        how = RunOptions(
            options.device,
            options.noise,
            options.backend,
            options.previous,
            checkpoint,
            watch,
            finish,
        )
        failure: HpcqError | None = None
        try:
            found.append(run_on_farm(plans[0] if plans else None, farm, how))
        except HpcqError as error:
            if not error.on_all_ranks:
                raise
            failure = error
    if first and found:  # also one that could not be saved
        print(found[0].to_json() if options.json else str(found[0]), flush=True)
    if failure is not None:
        raise failure
    return 0


def _show(options: argparse.Namespace) -> int:
    from hpcq.reports.text import result_text
    from hpcq.results import load_progress

    result, stages = load_progress(options.file)
    if options.json:
        print(result.to_json())
    elif options.csv:
        print(result.to_csv(), end="")
    else:
        print(result_text(result, stages))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    if options.srun_mpi:
        from hpcq.doctor.srun_mpi import found_srun_mpi

        if launched_rank() == 0:
            print(found_srun_mpi())
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


def _of_jobs(name: str) -> Callable[[argparse.Namespace], int]:
    """Return a command for jobs, which are looked up only when they are called."""

    def command(options: argparse.Namespace) -> int:
        from hpcq.cli import job_commands as commands

        code: int = getattr(commands, name)(options)
        return code

    return command


_JOBS = {name: _of_jobs(name) for name in ("submit", "status", "logs", "cancel", "result")}
_FOR_ONE = (_show, *_JOBS.values())
COMMANDS = {
    "plan": _plan,
    "run": _run,
    "show": _show,
    **_JOBS,
    "doctor": _doctor,
}
