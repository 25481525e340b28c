"""The command ``hpcq``: arguments, exit codes, and who prints what; nothing else."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hpcq.errors import HpcqError, InputError
from hpcq.machine import launched_rank, parse_bytes, usable_cores, usable_memory
from hpcq.version import __version__

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from hpcq.assembly import Plan
    from hpcq.config import Limits
    from hpcq.inputs.circuits import Reading

_PROGRESS_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 2: the input or the usage is wrong, with one line on stderr. 1: anything else.
    """
    first = launched_rank() == 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode loses no result
    try:
        options = _parser().parse_args(_joined(sys.argv[1:] if arguments is None else arguments))
        if not first and options.command is not _run and options.command is not _doctor:
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
    from hpcq.files import write_whole
    from hpcq.inputs.circuits import start_reading
    from hpcq.report import plan_json, plan_text

    place = None if options.save is None else check_cuts_file(Path(options.save))
    reading = start_reading(_circuit_path(options.circuit), seconds=options.read_seconds)
    limits = _limits(options, len(usable_cores()), usable_memory())
    plan = _make_plan(reading.result(), options, limits)
    if place is not None:
        write_whole(place, f"{plan.cut.cuts.to_json()}\n".encode(), "save")
    print(json.dumps(plan_json(plan)) if options.json else plan_text(plan))
    return 0


def _run(options: argparse.Namespace) -> int:
    from hpcq.inputs.circuits import start_reading

    # The file is read by a process of its own, started before MPI and while the libraries load.
    # Whatever is wrong with it must wait until all ranks can hear of it.
    path = _circuit_path(options.circuit)
    reading: Reading | InputError | None = None
    if launched_rank() == 0:
        try:
            reading = start_reading(path, seconds=options.read_seconds)
        except InputError as error:
            reading = error
    from hpcq.farm.mpi import ending_the_job, open_farm
    from hpcq.running import check_plan, from_rank_0, run_on_farm

    farm = open_farm()
    with ending_the_job(farm):
        cores, memory = farm.local_share()
        cores, memory = farm.smallest(cores), farm.smallest(memory)

        def make() -> Plan:
            if isinstance(reading, InputError):
                raise reading
            if options.output is not None:
                from hpcq.store import check_output

                check_output(Path(options.output))
            limits = _limits(options, cores, memory)
            circuit = (reading or start_reading(path, seconds=options.read_seconds)).result()
            return check_plan(_make_plan(circuit, options, limits), farm.size)

        plan = from_rank_0(farm, make)
        result = run_on_farm(plan, farm, device=options.device, progress=_Progress())
    if farm.rank == 0:
        shown = result.to_json() if options.json else str(result)
        if options.output is not None:
            try:
                result.save(options.output)
            except HpcqError:
                print(shown, flush=True)
                raise
            sys.stderr.write(f"hpcq: wrote {options.output}\n")
        print(shown)
    return 0


def _show(options: argparse.Namespace) -> int:
    from hpcq.report import result_text
    from hpcq.store import load_summary

    result = load_summary(options.file)
    print(result.to_json() if options.json else result_text(result))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from hpcq.doctor import calibrate, examine

    findings = calibrate(options.threads) if options.calibrate else []
    findings += examine()
    if launched_rank() == 0:
        print("\n".join(map(str, findings)))
    return 0 if all(finding.ok for finding in findings) else 1


def _make_plan(circuit: QuantumCircuit, options: argparse.Namespace, limits: Limits) -> Plan:
    from hpcq.inputs.observables import parse_observable, read_observables
    from hpcq.planning import plan_normalised

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
    return plan_normalised(
        circuit,
        observables or None,
        max_qubits=options.max_qubits,
        partition=partition,
        cuts=Path(options.cuts) if options.cuts is not None else None,
        seed=options.seed,
        limits=limits,
    )


def _limits(options: argparse.Namespace, cores: int, memory: int) -> Limits:
    from hpcq.config import SHARE_OF_MEMORY, Limits

    wanted = int(SHARE_OF_MEMORY * memory)
    if options.memory is not None:
        wanted = parse_bytes(options.memory)
    return Limits(wanted, options.threads or cores, options.precision)


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


def _joined(arguments: Sequence[str]) -> list[str]:
    """Join ``--observable -Z0`` to one argument; argparse would take -Z0 for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--observable":
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


class _Progress:
    """One plain line on stderr every few seconds."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < _PROGRESS_SECONDS:
            return
        self._last = now
        rate = done / (now - self._start)
        left = (total - done) / rate if rate else float("inf")
        sys.stderr.write(f"hpcq: {done}/{total} tasks, {rate:.3g} a second, {left:.0f} s left\n")
        sys.stderr.flush()


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, from one rank."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{' '.join(message.split())} (see: {self.prog} --help)")


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty (an unset shell variable?)")
    return text


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number from 1 to 1000000")
    return value


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number from 0 to 2^63 - 1")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hpcq",
        description="Cut a quantum circuit, farm the pieces over MPI ranks, and put the answer "
        "together. `mpirun -n N hpcq run ...` and `srun hpcq run ...` are the same command on "
        "more ranks.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hpcq {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    plan = commands.add_parser(
        "plan", help="show the cut and its cost; runs nothing", allow_abbrev=False
    )
    _add_job(plan)
    plan.add_argument("--save", type=_text, metavar="CUTS.json", help="write the cuts for --cuts")
    plan.add_argument("--json", action="store_true", help="print one JSON object")
    plan.set_defaults(command=_plan)

    run = commands.add_parser("run", help="compute the expectation values", allow_abbrev=False)
    _add_job(run)
    run.add_argument(
        "-o", "--output", type=_text, metavar="OUT.h5", help="write the result to an HDF5 file"
    )
    run.add_argument("--json", action="store_true", help="print one JSON object")
    run.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), default="auto", help="default: auto"
    )
    run.set_defaults(command=_run)

    show = commands.add_parser("show", help="print a result file", allow_abbrev=False)
    show.add_argument("file", type=_text, metavar="OUT.h5")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    show.set_defaults(command=_show)

    doctor = commands.add_parser(
        "doctor", help="say what this machine offers, and check known answers", allow_abbrev=False
    )
    doctor.add_argument(
        "--calibrate",
        action="store_true",
        help="first measure how fast this machine is, for the seconds that plans predict",
    )
    doctor.add_argument(
        "--threads", type=_positive, metavar="T", help="with --calibrate; default: a rank's cores"
    )
    doctor.set_defaults(command=_doctor)
    return parser


def _add_job(parser: argparse.ArgumentParser) -> None:
    """Add what `plan` and `run` share."""
    parser.add_argument(
        "circuit", type=_text, metavar="CIRCUIT", help="OpenQASM 2 or 3, QPY, or example:NAME"
    )
    cut = parser.add_argument_group("where to cut (default: only where nothing joins the parts)")
    ways = cut.add_mutually_exclusive_group()
    ways.add_argument(
        "--max-qubits", type=_positive, metavar="W", help="search; no subcircuit wider than W"
    )
    ways.add_argument(
        "--partition",
        type=_text,
        metavar="AAABBB",
        help="one label a qubit; or labels joined by commas",
    )
    ways.add_argument(
        "--cuts", type=_text, metavar="CUTS.json", help="cuts that `hpcq plan --save` wrote"
    )
    asked = parser.add_argument_group("what to compute (default: Z on every qubit)")
    asked.add_argument(
        "--observable",
        type=_text,
        action="append",
        default=[],
        metavar="TEXT",
        help="'Z0 Z5 + 0.5 X2', or a label ZIIX (rightmost is qubit 0); repeatable",
    )
    asked.add_argument("--observables", type=_text, metavar="FILE.json", help="named observables")
    means = parser.add_argument_group("means")
    means.add_argument("--seed", type=_seed, default=0, metavar="S", help="default: 0")
    means.add_argument("--threads", type=_positive, metavar="T", help="a rank; default: its cores")
    means.add_argument(
        "--memory",
        type=_text,
        metavar="SIZE",
        help="a rank, such as 4G; default: most of what is free",
    )
    means.add_argument(
        "--read-seconds",
        type=_positive,
        default=4,
        metavar="S",
        help="limit on reading CIRCUIT; default: 4",
    )
    means.add_argument(
        "--precision", choices=("single", "double"), default="double", help="default: double"
    )
