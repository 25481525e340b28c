"""The command ``hpcq``: what its commands do, exit codes, and who prints what; nothing else."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.arguments import parse, run_words
from hpcq.errors import HpcqError, InputError
from hpcq.machine import launched_rank, parse_bytes

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from hpcq.assembly import Plan
    from hpcq.batch.job import Job
    from hpcq.config import Limits
    from hpcq.farm.serial import Farm
    from hpcq.inputs.circuits import Reading
    from hpcq.job.keeping import Keeper
    from hpcq.result import Result
    from hpcq.shots.sampling import Budget


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 2: the input or the usage is wrong, with one line on stderr. 75: stopped early, all
    that was done is saved, run the same command again to go on. 1: anything else.
    """
    code = _main(arguments)
    farm = sys.modules.get("hpcq.farm.mpi")
    if farm is not None:
        farm.leave(code)
    return code


def _main(arguments: Sequence[str] | None) -> int:
    first = launched_rank() == 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode loses no result
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments, COMMANDS)
        if not first and options.command in _FOR_ONE:
            return 0  # what one process does, rank 0 does
        code: int = options.command(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except HpcqError as error:
        if first:
            sys.stderr.write(f"hpcq: error: {' '.join(str(error).split())}\n")
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


def _plan(options: argparse.Namespace) -> int:
    from hpcq.cutting.cuts import check_cuts_file
    from hpcq.farm.mpi import ending_the_job, open_farm
    from hpcq.files import write_whole
    from hpcq.report import pareto_json, pareto_text, plan_json, plan_text

    places: dict[str, Path] = {}

    def check() -> None:
        if options.pareto and options.max_qubits is None:
            raise InputError("pareto: it needs a width to start from, expected --max-qubits too")
        if options.save is not None:
            places["save"] = check_cuts_file(Path(options.save))
        if options.draw is not None:
            from hpcq.drawing import check_drawing

            places["draw"] = check_drawing(Path(options.draw))
        if len(set(places.values())) < len(places):
            raise InputError(f"draw: {options.draw[:80]!r} is where --save goes too")

    reading = _read_ahead(options)
    farm = open_farm()
    with ending_the_job(farm):
        front = _planned(options, reading, farm, check)
    if not front:
        return 0
    plan = front[0]
    if "save" in places:
        write_whole(places["save"], f"{plan.cuts.to_json()}\n".encode(), "save")
    if "draw" in places:
        from hpcq.drawing import draw_plan

        draw_plan(plan, places["draw"])
    if options.json:
        print(json.dumps({**plan_json(plan), **(pareto_json(front) if options.pareto else {})}))
    else:
        print(plan_text(plan) + (f"\n\n{pareto_text(front)}" if options.pareto else ""))
    return 0


def _run(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    reading = _read_ahead(options)
    from hpcq.farm.mpi import end_before, ending_the_job, open_farm
    from hpcq.job.options import RunOptions
    from hpcq.job.stopping import StopSigns
    from hpcq.job.watching import Watchman
    from hpcq.running import keeper_for, run_on_farm

    keepers: list[Keeper] = []
    options.previous = options.known = None

    def check() -> None:
        if _budget(options) is None and (options.noise or options.backend):
            raise InputError("noise, backend: they are for shots, expected --shots or --precision")
        claim_seconds = options.claim_seconds if options.shared else None
        keeper = keeper_for(options.output, options.checkpoint_seconds, claim_seconds)
        if keeper is not None:
            keepers.append(keeper)
            mode = "exact" if _budget(options) is None else "shots"
            options.previous = keeper.found(mode)
            options.known = keeper.settings(options.previous)

    found: list[Result] = []

    def finish(result: Result) -> None:
        found.append(result)
        for keeper in keepers:
            keeper.finish(result)
            watch.say(f"wrote {keeper.path}")

    farm = open_farm()
    first = farm.rank == 0
    signs = StopSigns(options.time_limit, options.stop_signal, since=begun, asks=first)
    with ending_the_job(farm), signs:
        with signs.giving_up(lambda reason: end_before(farm, reason)):
            try:
                plans = _planned(options, reading, farm, check)
            except HpcqError:
                for own in keepers:
                    own.withdraw()
                raise
        for plan, own in zip(plans, keepers, strict=False):
            own.settle(plan.config)
        keeper = keepers[0] if keepers else None
        watch = Watchman(signs, keeper, sys.stderr if first else None)
        how = RunOptions(
            options.device,
            options.noise,
            options.backend,
            options.previous,
            keeper,
            watch,
            finish,
        )
        failure: HpcqError | None = None
        try:
            found.append(run_on_farm(plans[0] if plans else None, farm, how))
        except HpcqError as error:
            if not error.together:
                raise
            failure = error
    if first and found:  # also one that could not be saved
        print(found[0].to_json() if options.json else str(found[0]), flush=True)
    if failure is not None:
        raise failure
    return 0


def _budget(options: argparse.Namespace) -> Budget | None:
    from hpcq.planning import budget_of

    return budget_of(options.shots, options.standard_error, options.max_variants)


def _show(options: argparse.Namespace) -> int:
    from hpcq.report import result_text
    from hpcq.store import load_summary

    result = load_summary(options.file)
    print(result.to_json() if options.json else result_text(result))
    return 0


def _submit(options: argparse.Namespace) -> int:
    from hpcq.files import printable_path

    job, script = submitted(options)
    if job is None:
        print(script, end="")
    elif options.json:
        print(json.dumps({"job": job.id, "output": str(job.output), "script": script}))
    else:
        print(f"job {job.id} writes {printable_path(job.output)}; `hpcq status {job.id}`")
    return 0


def submitted(options: argparse.Namespace) -> tuple[Job | None, str]:
    """Submit what a command line of ``submit`` says.

    Returns:
        The job, None for a dry run, and its script.

    Raises:
        HpcqError: If anything is wrong with it, or SLURM refuses it.
    """
    from hpcq.batch.submit import prepare, start_here, submit
    from hpcq.farm.serial import SerialFarm

    reading = _read_ahead(options)

    def plan(whole: bool) -> Plan | None:
        if whole:
            return _planned(options, reading, SerialFarm(), lambda: None)[0]
        if reading is None or isinstance(reading, InputError):
            raise reading or InputError("launcher: `hpcq submit` is for one process")
        _how_to_plan(reading.result(), options, _limits(options, 1, 1 << 30))
        return None

    order = prepare(options, run_words(options.arguments), plan)
    if options.dry_run:
        return None, order.script
    job = (start_here if options.local else submit)(order)
    return job, order.script


def _status(options: argparse.Namespace) -> int:
    from hpcq.batch.job import Job
    from hpcq.batch.record import find, record_file
    from hpcq.batch.report import job_text
    from hpcq.job.status import resolved, status_of, status_text

    place = resolved(Path(options.job))
    if record_file(place).exists() or not (place.exists() or place.suffix):
        job = Job(find(options.job))
        stands = job.status()
        shown = {**stands.file, "state": stands.state, "reason": stands.reason, "job": job.id}
        print(json.dumps(shown) if options.json else job_text(job, stands))
        return 0
    status = status_of(place)
    print(json.dumps(status) if options.json else status_text(status))
    return 0


def _logs(options: argparse.Namespace) -> int:
    from hpcq.batch.job import Job

    said = Job.of(options.job).logs()
    print(said, end="" if said.endswith("\n") else "\n")
    return 0


def _cancel(options: argparse.Namespace) -> int:
    from hpcq.batch.job import Job

    job = Job.of(options.job)
    job.cancel()
    print(f"job {job.id} is canceled; `hpcq status {job.id}`")
    return 0


def _result(options: argparse.Namespace) -> int:
    from hpcq.batch.job import Job
    from hpcq.report import result_text

    result = Job.of(options.job).result(wait=options.wait)
    print(result.to_json() if options.json else result_text(result))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    if options.srun_mpi:
        from hpcq.batch.launching import found_srun_mpi

        if launched_rank() == 0:
            print(found_srun_mpi())
        return 0
    from hpcq.doctor import calibrate, examine

    findings = calibrate(options.threads) if options.calibrate else []
    findings += examine()
    if launched_rank() == 0:
        print("\n".join(map(str, findings)))
    return 0 if all(finding.ok for finding in findings) else 1


def _read_ahead(options: argparse.Namespace) -> Reading | InputError | None:
    """Begin to read the circuit, on rank 0.

    The file is read by a process of its own, started before MPI and while the libraries load.
    Whatever is wrong with it must wait until all ranks can hear of it.
    """
    from hpcq.inputs.circuits import start_reading

    if launched_rank() > 0:
        return None
    try:
        return start_reading(_circuit_path(options.circuit), seconds=options.read_seconds)
    except InputError as error:
        return error


def _planned(
    options: argparse.Namespace,
    reading: Reading | InputError | None,
    farm: Farm,
    check: Callable[[], None],
) -> list[Plan]:
    """Make the plan on rank 0, and with ``--pareto`` narrower ones; nothing on other ranks."""
    from hpcq.job.together import from_rank_0, room_of
    from hpcq.planning import pareto_plans, plan_normalised, with_limits
    from hpcq.running import check_plan

    cores, memory = room_of(farm, getattr(options, "device", "auto"))

    def make() -> list[Plan]:
        check()
        begun = reading or _read_ahead(options)
        if begun is None or isinstance(begun, InputError):
            raise begun or InputError("launcher: rank 0 is another process than it said")
        circuit = begun.result()
        limits = _limits(options, cores, memory)
        known = getattr(options, "known", None)
        planned = limits if known is None else _limits_of(known, options, limits)
        how = _how_to_plan(circuit, options, planned)
        if getattr(options, "pareto", False):
            return pareto_plans(circuit, farm=farm, **how)
        speeds = None if known is None else known.get("speeds")
        plan = plan_normalised(circuit, farm=farm, speeds=speeds, **how)
        if options.command is not _run:
            return [plan]
        return [check_plan(with_limits(plan, limits), farm.size)]

    return from_rank_0(farm, make) or []


def _how_to_plan(
    circuit: QuantumCircuit, options: argparse.Namespace, limits: Limits
) -> dict[str, Any]:
    """Return the arguments of :func:`hpcq.planning.plan_normalised`."""
    from hpcq.inputs.observables import parse_observable, read_observables

    observables: list[Any] = [
        parse_observable(text, circuit.num_qubits) for text in options.observable
    ]
    if options.observables is not None:
        observables += read_observables(options.observables, circuit.num_qubits)
    partition = options.partition
    if partition is not None and "," in partition:
        partition = [label.strip() for label in partition.split(",")]
        if not all(partition):
            raise InputError(f"partition: {options.partition[:40]!r} has an empty label")
    search = {
        name: getattr(options, name)
        for name in ("objective", "search_seconds", "reuse_qubits")
        if getattr(options, name) is not None
    }
    if search and options.max_qubits is None:
        raise InputError(f"{min(search)}: it is for a search, expected --max-qubits with it")
    return {
        "observables": observables or None,
        "budget": _budget(options),
        "max_qubits": options.max_qubits,
        "partition": partition,
        "cuts": Path(options.cuts) if options.cuts is not None else None,
        **search,
        "ranks": options.ranks,
        "seed": options.seed,
        "limits": limits,
    }


def _limits(options: argparse.Namespace, cores: int, memory: int) -> Limits:
    from hpcq.config import SHARE_OF_MEMORY, Limits, rounded_memory

    wanted = rounded_memory(int(SHARE_OF_MEMORY * memory))
    if options.memory is not None:
        wanted = parse_bytes(options.memory)
    return Limits(wanted, options.threads or cores, options.precision)


def _limits_of(known: Mapping[str, Any], options: argparse.Namespace, limits: Limits) -> Limits:
    """Return the limits that an earlier start was planned with, as far as they are not given."""
    memory = known.get("memory_bytes", limits.memory_bytes)
    return replace(
        limits,
        memory_bytes=limits.memory_bytes if options.memory is not None else memory,
        threads=options.threads or known.get("threads", limits.threads),
    )


def _circuit_path(circuit: str) -> Path:
    """Return the file of a circuit, or of an example that the package brings along."""
    if not circuit.startswith("example:"):
        return Path(circuit)
    folder = Path(__file__).parent / "examples"
    name = circuit.removeprefix("example:")
    known = sorted(path.stem for path in folder.glob("*.qasm"))
    if name not in known:
        raise InputError(f"circuit: no example {name[:40]!r}, expected one of {', '.join(known)}")
    return folder / f"{name}.qasm"


def parse_submit(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line of ``submit``."""
    return parse(["submit", *arguments], COMMANDS)


_FOR_ONE = (_show, _submit, _status, _logs, _cancel, _result)
COMMANDS = {
    "plan": _plan,
    "run": _run,
    "show": _show,
    "submit": _submit,
    "status": _status,
    "logs": _logs,
    "cancel": _cancel,
    "result": _result,
    "doctor": _doctor,
}
