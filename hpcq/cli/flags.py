"""The flags of every command; what they mean is said where they are used."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from hpcq.cli import option_values as values
from hpcq.core.errors import InputError
from hpcq.core.limits import DTYPES
from hpcq.core.version import __version__

Command = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, from one rank."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print and exit with."""
        raise InputError(f"{' '.join(message.split())} (see: {self.prog} --help)")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        # Until Python 3.13 argparse takes --memory=-- for a list without an entry.
        if action.option_strings and arg_strings == ["--"]:
            raise argparse.ArgumentError(action, "'--', expected a value")
        return super()._get_values(action, arg_strings)


def all_commands(known: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Return the parser of the whole command line.

    Args:
        known: What to call for each command; it becomes the option ``command``.
    """
    parser = Parser(
        prog="hpcq",
        description="Cut a quantum circuit, farm the pieces over MPI ranks, and put the answer "
        "together. `mpirun -n N hpcq run ...` and `srun hpcq run ...` are the same command on "
        "more ranks.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hpcq {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    plan = commands.add_parser(
        "plan", help="show the cut and its cost; runs nothing", allow_abbrev=False
    )
    add_job(plan)
    plan.add_argument(
        "--save",
        type=values.some_text,
        metavar="CUTS.json",
        help="write the plan's cuts for --cuts",
    )
    plan.add_argument(
        "--draw", type=values.some_text, metavar="FILE", help="draw the cuts, as .png, .svg or .txt"
    )
    plan.add_argument(
        "--pareto",
        action="store_true",
        help="show what narrower subcircuits cost too (with --max-qubits; a search for each width)",
    )
    plan.add_argument("--json", action="store_true", help="print one JSON object")
    plan.set_defaults(command=known["plan"])

    run = commands.add_parser("run", help="compute the expectation values", allow_abbrev=False)
    add_job(run)
    add_run(run)
    run.set_defaults(command=known["run"])

    submit = commands.add_parser(
        "submit", help="run as a SLURM job, or in the background", allow_abbrev=False
    )
    add_job(submit)
    add_run(submit)
    _add_submit(submit)
    submit.set_defaults(command=known["submit"])

    show = commands.add_parser("show", help="print a result file", allow_abbrev=False)
    show.add_argument("file", type=values.some_text, metavar="OUT.h5")
    ways = show.add_mutually_exclusive_group()
    ways.add_argument("--json", action="store_true", help="print one JSON object")
    ways.add_argument("--csv", action="store_true", help="print a line for each observable")
    show.set_defaults(command=known["show"])

    status = commands.add_parser(
        "status", help="say how a run stands, while it goes on or after", allow_abbrev=False
    )
    status.add_argument("job", type=values.some_text, metavar="JOB|OUT.h5")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    status.set_defaults(command=known["status"])

    logs = commands.add_parser("logs", help="print what a job has said", allow_abbrev=False)
    logs.add_argument("job", type=values.some_text, metavar="JOB|OUT.h5")
    logs.set_defaults(command=known["logs"])

    cancel = commands.add_parser("cancel", help="end a job, all saved", allow_abbrev=False)
    cancel.add_argument("job", type=values.some_text, metavar="JOB|OUT.h5")
    cancel.set_defaults(command=known["cancel"])

    result = commands.add_parser("result", help="print a job's result", allow_abbrev=False)
    result.add_argument("job", type=values.some_text, metavar="JOB|OUT.h5")
    result.add_argument("--wait", action="store_true", help="until the job is over")
    result.add_argument("--json", action="store_true", help="print one JSON object")
    result.set_defaults(command=known["result"])

    doctor = commands.add_parser(
        "doctor", help="say what this machine offers, and check known answers", allow_abbrev=False
    )
    doctor.add_argument(
        "--calibrate",
        action="store_true",
        help="first measure how fast this machine is, for the seconds that plans predict",
    )
    doctor.add_argument(
        "--threads",
        type=values.positive,
        metavar="T",
        help="with --calibrate; default: a rank's cores",
    )
    doctor.add_argument(
        "--srun-mpi",
        action="store_true",
        help="print what srun's --mpi must be for mpi4py's MPI, and no more; empty: nothing fits",
    )
    doctor.set_defaults(command=known["doctor"])
    return parser


def add_run(run: argparse.ArgumentParser) -> None:
    """Add what `run` and `submit` share, beside the job."""
    run.add_argument(
        "-o",
        "--output",
        type=values.some_text,
        metavar="OUT.h5",
        help="write the result to an HDF5 file",
    )
    run.add_argument("--json", action="store_true", help="print one JSON object")
    run.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), default="auto", help="default: auto"
    )
    engine = run.add_argument_group("what measures the shots (default: Aer without noise)")
    engine.add_argument(
        "--noise",
        type=values.some_text,
        metavar="NOISE",
        help="Aer noise model as a JSON file, or of a fake backend such as fake_brisbane",
    )
    engine.add_argument(
        "--backend",
        type=values.some_text,
        metavar="NAME",
        help="a device: generic:N, fake_brisbane and others, or one of Qiskit Runtime's",
    )
    going = run.add_argument_group("long runs (with -o; the same command goes on where one ended)")
    going.add_argument(
        "--checkpoint-seconds",
        type=values.seconds,
        default=60.0,
        metavar="S",
        help="write OUT.h5 at most this often while the run goes on; default: 60",
    )
    going.add_argument(
        "--time-limit",
        type=values.duration,
        metavar="TIME",
        help="stop in time, all saved, exit code 75: seconds, or [D-]HH:MM:SS as in SLURM; "
        "the end of a SLURM allocation counts anyway",
    )
    going.add_argument(
        "--stop-signal",
        type=values.some_text,
        default="USR1",
        metavar="NAME",
        help="signal that asks to save and stop within 10 s; default: USR1; TERM and INT do too",
    )
    going.add_argument(
        "--shared",
        action="store_true",
        help="other jobs may be at work on the same OUT.h5: each does what nobody has begun",
    )
    going.add_argument(
        "--claim-seconds",
        type=values.seconds,
        default=120.0,
        metavar="S",
        help="with --shared: a job that is silent for so long is taken to be gone; default: 120",
    )


def _add_submit(parser: argparse.ArgumentParser) -> None:
    """Add what a job asks for."""
    size = parser.add_argument_group("how large (default: by what the plan is predicted to take)")
    size.add_argument("--nodes", type=values.some_text, metavar="N", help="or a range, such as 1-8")
    size.add_argument("--ranks-per-node", type=values.positive, metavar="R")
    size.add_argument(
        "--cpus-per-rank", type=values.positive, metavar="C", help="threads of each; default: 1"
    )
    size.add_argument(
        "--gpus-per-node",
        type=values.positive,
        metavar="G",
        help="one rank for each, and one to schedule",
    )
    size.add_argument(
        "--time", type=values.some_text, metavar="TIME", help="minutes or [D-]HH:MM:SS"
    )
    site = parser.add_argument_group("where (best in the site's file; see the README)")
    for name in ("account", "slurm-partition", "qos", "constraint", "reservation"):
        names = ("-p", f"--{name}") if name == "slurm-partition" else (f"--{name}",)
        site.add_argument(*names, type=values.some_text, metavar="NAME")
    site.add_argument(
        "--mpi", type=values.some_text, metavar="TYPE", help="srun's --mpi; default: found out"
    )
    site.add_argument(
        "--module",
        type=values.some_text,
        action="append",
        default=[],
        metavar="NAME",
        help="repeatable",
    )
    site.add_argument(
        "--setup",
        type=values.some_text,
        action="append",
        default=[],
        metavar="LINE",
        help="line of shell to begin the job with; repeatable",
    )
    site.add_argument(
        "--sbatch",
        type=values.some_text,
        action="append",
        default=[],
        metavar="OPTION",
        help="any other option of sbatch, as --sbatch=--exclusive; repeatable",
    )
    site.add_argument(
        "--container", type=values.some_text, metavar="IMAGE", help="run in Apptainer"
    )
    life = parser.add_argument_group("how long")
    life.add_argument(
        "--job-name", type=values.some_text, metavar="NAME", help="default: that of OUT.h5"
    )
    life.add_argument(
        "--until-done",
        action="store_true",
        help="after a stop in time, the job puts itself back into the queue, and goes on",
    )
    life.add_argument(
        "--restarts",
        type=values.positive,
        metavar="N",
        help="with --until-done: at most; default: 20",
    )
    life.add_argument(
        "--array",
        type=values.positive,
        default=1,
        metavar="K",
        help="K jobs of this size share the result; they come and go as SLURM has room",
    )
    what = parser.add_argument_group("what to do with the job")
    what.add_argument("--local", action="store_true", help="in the background of this machine")
    what.add_argument("--dry-run", action="store_true", help="print the job script, and no more")


def add_job(parser: argparse.ArgumentParser) -> None:
    """Add what `plan` and `run` share."""
    parser.add_argument(
        "circuit",
        type=values.some_text,
        metavar="CIRCUIT",
        help="OpenQASM 2 or 3, QPY, example:NAME, or a job.toml that names one and has options",
    )
    cut = parser.add_argument_group("where to cut (default: only where nothing joins the parts)")
    ways = cut.add_mutually_exclusive_group()
    ways.add_argument(
        "--max-qubits", type=values.positive, metavar="W", help="search; no subcircuit wider than W"
    )
    ways.add_argument(
        "--cut-labels",
        type=values.some_text,
        metavar="AAABBB",
        help="one label for each qubit, or labels joined by commas; gates between labels are cut",
    )
    ways.add_argument("--partition", type=values.some_text, help=argparse.SUPPRESS)
    ways.add_argument(
        "--cuts",
        type=values.some_text,
        metavar="CUTS.json",
        help="cuts that `hpcq plan --save` wrote",
    )
    search = parser.add_argument_group("how to search (with --max-qubits)")
    search.add_argument(
        "--objective",
        choices=("seconds", "overhead"),
        help="what to make small: seconds of the exact run, or gamma squared, the overhead of "
        "shots; default: seconds, with shots overhead",
    )
    search.add_argument(
        "--search-seconds",
        type=values.seconds,
        metavar="S",
        help="about how long to search; the same number, seed and --memory find the same cuts; "
        "default: 3",
    )
    search.add_argument(
        "--reuse-qubits",
        action="store_true",
        default=None,
        help="W counts qubits of a device that can measure, reset and reuse them",
    )
    search.add_argument(
        "--ranks",
        type=values.positive,
        default=1,
        metavar="R",
        help="how many ranks to plan for; the run may have any number; default: 1",
    )
    asked = parser.add_argument_group("what to compute (default: Z on every qubit)")
    asked.add_argument(
        "--observable",
        type=values.some_text,
        action="append",
        default=[],
        metavar="TEXT",
        help="'Z0 Z5 + 0.5 X2', a label ZIIX or label:Z0+- (rightmost is qubit 0), or an outcome "
        "0011 for its probability; repeatable",
    )
    asked.add_argument(
        "--observables", type=values.some_text, metavar="FILE.json", help="named observables"
    )
    shots = parser.add_argument_group("shots, as on devices (default: exact)")
    shots.add_argument(
        "--shots",
        type=values.shots,
        metavar="N",
        help="of all variants together; with --target-error, at most N",
    )
    shots.add_argument(
        "--target-error",
        type=values.target_error,
        metavar="EPS",
        help="go on until no standard error is larger than EPS",
    )
    shots.add_argument(
        "--max-variants",
        type=values.positive,
        metavar="V",
        help="variants of one subcircuit above which joint samples are drawn; default: 4096",
    )
    means = parser.add_argument_group("means")
    means.add_argument(
        "--seed", type=values.seed, default=0, metavar="N", help="of search and shots; default: 0"
    )
    means.add_argument(
        "--threads", type=values.positive, metavar="T", help="a rank; default: its cores"
    )
    means.add_argument(
        "--memory",
        type=values.some_text,
        metavar="SIZE",
        help="a rank, such as 4G; default: most of what is free, which ranks on a node share",
    )
    means.add_argument(
        "--read-seconds",
        type=values.positive,
        default=4,
        metavar="S",
        help="limit on reading CIRCUIT; default: 4",
    )
    means.add_argument(
        "--dtype",
        choices=tuple(DTYPES),
        help="number format of the simulation; default: complex128",
    )
    means.add_argument(
        "--precision", type=values.precision, action="append", help=argparse.SUPPRESS
    )
