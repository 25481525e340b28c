"""The flags of every command, with their help texts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from hpcq.cli import option_values as values
from hpcq.core.errors import InputError
from hpcq.core.limits import DTYPES
from hpcq.core.version import __version__

Command = Callable[[argparse.Namespace], int]

_REPEATABLE: dict[str, Any] = {"action": "append", "default": []}

_MIN_RESEMBLANCE = 0.75
"""Minimum similarity of a mistyped flag and the one that is suggested, from 0 to 1 (``difflib``).
Larger: fewer typing errors are recognised; smaller: unrelated flags are suggested."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises errors, which one rank then prints in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise the message with which argparse would exit."""
        raise InputError(f"{' '.join(message.split())} (see: {self.prog} --help)")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        # Before Python 3.13, argparse takes --memory=-- for an empty list.
        if action.option_strings and arg_strings == ["--"]:
            raise argparse.ArgumentError(action, "'--', expected a value")
        return super()._get_values(action, arg_strings)


class CommandParser(Parser):
    """The parser of one command, which suggests the flag that a mistyped one resembles."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the options, and the arguments that this command does not know.

        Raises:
            InputError: If one of those looks like a flag that was mistyped.
        """
        options, unknown = super().parse_known_args(args, namespace)
        for argument in unknown:
            given = argument.partition("=")[0]
            if given.startswith("--") and (near := self._nearest_flag(given)):
                self.error(f"unrecognized argument {given[:60]}: did you mean {near}?")
        return options, unknown

    def _nearest_flag(self, given: str) -> str | None:
        from difflib import get_close_matches

        shown = (action for action in self._actions if action.help != argparse.SUPPRESS)
        flags = [flag for action in shown for flag in action.option_strings if flag[:2] == "--"]
        return next(iter(get_close_matches(given[:60], flags, 1, _MIN_RESEMBLANCE)), None)


def build_parser(functions: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Return the parser of all commands, whose functions become the option ``command``."""
    parser = Parser(
        prog="hpcq",
        description="Compute expectation values of a quantum circuit on MPI ranks: cut into "
        "subcircuits, or by the method that suits each part of it. `mpirun -n N hpcq run ...` and "
        "`srun hpcq run ...` are the same command on more ranks.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hpcq {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=CommandParser)

    def add_command(name: str, summary: str) -> CommandParser:
        """Add and return the parser of a command, whose own help begins with the summary."""
        description = f"{summary[0].upper()}{summary[1:]}."
        command = commands.add_parser(
            name, help=summary, description=description, allow_abbrev=False
        )
        # The type of all values without another: an empty one is a shell variable that is unset.
        command.register("type", None, values.nonempty_text)
        command.set_defaults(command=functions[name])
        return command

    plan = add_command("plan", "print the method, the cuts and the predicted cost, without running")
    add_plan_options(plan)
    plan.add_argument("--save", metavar="CUTS.json", help="write the cuts to a file, for --cuts")
    plan.add_argument("--draw", metavar="FILE", help="draw the cuts to a .png, .svg or .txt file")
    plan.add_argument(
        "--pareto",
        action="store_true",
        help="also print the cost of narrower subcircuits (with --max-qubits: a search for each)",
    )
    plan.add_argument("--json", action="store_true", help="print one JSON object")

    run = add_command("run", "compute the expectation values of one circuit or many")
    add_plan_options(run)
    add_run_options(run)

    submit = add_command("submit", "run as a SLURM job or in the background")
    add_plan_options(submit)
    add_run_options(submit)
    _add_submit_options(submit)

    show = add_command("show", "print a result file, or the state of many circuits")
    show.add_argument(
        "file",
        metavar="OUT.h5",
        help="HDF5 file that `hpcq run` wrote, or its folder of several circuits",
    )
    ways = show.add_mutually_exclusive_group()
    ways.add_argument("--json", action="store_true", help="print one JSON object")
    ways.add_argument(
        "--csv", action="store_true", help="print one line per observable, or per circuit"
    )

    status = add_command("status", "print the status of a job or run, even while it is running")
    _add_job(status)
    status.add_argument("--json", action="store_true", help="print one JSON object")

    _add_job(add_command("logs", "print the logs of a job"))
    _add_job(add_command("cancel", "cancel a job; finished work is kept"))

    result = add_command("result", "print the result of a job")
    _add_job(result)
    result.add_argument("--wait", action="store_true", help="wait until the job is over")
    result.add_argument("--json", action="store_true", help="print one JSON object")

    doctor = add_command("doctor", "check this machine and installation against known answers")
    doctor.add_argument(
        "--calibrate",
        action="store_true",
        help="first measure the speed of this machine, so that plans predict times well",
    )
    doctor.add_argument(
        "--threads",
        type=values.positive,
        metavar="T",
        help="threads to calibrate for; default: the cores of a rank",
    )
    doctor.add_argument(
        "--srun-mpi",
        action="store_true",
        help="only print the value of srun's --mpi that suits mpi4py; nothing if none does",
    )
    return parser


def _add_job(command: argparse.ArgumentParser) -> None:
    """Add the argument that names a job."""
    command.add_argument(
        "job",
        metavar="JOB|OUT.h5",
        help="number of a job, or its output, which stands for the last job submitted for it",
    )


def add_run_options(run: argparse.ArgumentParser) -> None:
    """Add the options of `run`, which `submit` has too, beyond those of a plan."""
    run.add_argument(
        "more_circuits",
        nargs="*",
        default=[],  # or argparse says that it is required
        metavar="CIRCUIT",
        help="more circuits, with the same options for all",
    )
    run.add_argument(
        "-o",
        "--output",
        metavar="OUT.h5",
        help="HDF5 file to write; for several circuits a folder, with a STEM.h5 for each and a "
        "manifest.json",
    )
    run.add_argument("--json", action="store_true", help="print one JSON object for each circuit")
    run.add_argument(
        "--device",
        type=str,
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="where to simulate; default: auto",
    )
    run.add_argument(
        "--engine",
        metavar="NAME",
        help="simulator: aer, or one that another package registers; default: aer",
    )
    engine = run.add_argument_group("engine for shots (default: Aer without noise)")
    engine.add_argument(
        "--noise",
        metavar="NOISE",
        help="Aer noise model: a JSON file, or a fake backend such as fake_brisbane",
    )
    engine.add_argument(
        "--backend",
        metavar="NAME",
        help="hardware backend: generic:N, a fake backend, or a name at Qiskit Runtime",
    )
    going = run.add_argument_group(
        "long runs (with -o; the same command resumes a run that stopped)"
    )
    going.add_argument(
        "--checkpoint-seconds",
        type=values.seconds,
        default=60.0,
        metavar="S",
        help="minimum seconds between checkpoints to OUT.h5; default: 60",
    )
    going.add_argument(
        "--time-limit",
        type=values.duration,
        metavar="TIME",
        help="save everything and stop before this time, with exit code 75: seconds or "
        "[D-]HH:MM:SS; the end of a SLURM allocation is always observed",
    )
    going.add_argument(
        "--stop-signal",
        default="USR1",
        metavar="NAME",
        help="signal on which to save and stop within 10 s, besides TERM and INT; default: USR1",
    )
    going.add_argument(
        "--shared",
        action="store_true",
        help="share OUT.h5 with other jobs that run the same command; they divide the work",
    )
    going.add_argument(
        "--claim-seconds",
        type=values.seconds,
        default=120.0,
        metavar="S",
        help="with --shared: seconds of silence after which a job is assumed dead; default: 120",
    )


def _add_submit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `submit` alone."""
    size = parser.add_argument_group(
        "size of the job (default: from the predicted cost of the plan)"
    )
    size.add_argument("--nodes", metavar="N", help="number of nodes, or a range such as 1-8")
    size.add_argument(
        "--ranks-per-node", type=values.positive, metavar="R", help="MPI ranks on each node"
    )
    size.add_argument(
        "--cpus-per-rank", type=values.positive, metavar="C", help="cores of each rank; default: 1"
    )
    size.add_argument(
        "--gpus-per-node",
        type=values.positive,
        metavar="G",
        help="GPUs of each node: one rank per GPU, and one that schedules",
    )
    size.add_argument("--time", metavar="TIME", help="time limit: minutes or [D-]HH:MM:SS")
    site = parser.add_argument_group("where to run (best set in the site file; see the README)")
    for name in ("account", "slurm-partition", "qos", "constraint", "reservation"):
        option = name.removeprefix("slurm-")
        site.add_argument(
            *(("-p", f"--{name}") if option == "partition" else (f"--{name}",)),
            metavar="NAME",
            help=f"sbatch's --{option}",
        )
    site.add_argument(
        "--mpi", metavar="TYPE", help="value of srun's --mpi; default: detected in the job"
    )
    site.add_argument(
        "--module", **_REPEATABLE, metavar="NAME", help="environment module to load; repeatable"
    )
    site.add_argument(
        "--setup", **_REPEATABLE, metavar="LINE", help="line of shell to run first; repeatable"
    )
    site.add_argument(
        "--sbatch",
        **_REPEATABLE,
        metavar="OPTION",
        help="another option of sbatch, as in --sbatch=--exclusive; repeatable",
    )
    site.add_argument("--container", metavar="IMAGE", help="Apptainer image to run in")
    life = parser.add_argument_group("name and restarts")
    life.add_argument("--job-name", metavar="NAME", help="default: name of OUT.h5")
    life.add_argument(
        "--until-done",
        action="store_true",
        help="requeue the job whenever it stops early, until the run is complete",
    )
    life.add_argument(
        "--restarts",
        type=values.positive,
        metavar="N",
        help="with --until-done: maximum number of requeues; default: 20",
    )
    life.add_argument(
        "--array",
        type=values.positive,
        default=1,
        metavar="K",
        help="submit K jobs of this size that share the result, each when SLURM has room",
    )
    what = parser.add_argument_group("instead of submitting to SLURM")
    what.add_argument("--local", action="store_true", help="run in the background of this machine")
    what.add_argument("--dry-run", action="store_true", help="only print the job script")


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `plan`, which `run` and `submit` have too."""
    parser.add_argument(
        "circuit",
        metavar="CIRCUIT",
        help="OpenQASM 2 or 3, QPY, example:NAME, or a job.toml with a circuit and options",
    )
    method = parser.add_argument_group("method (default: the quickest one with an error bound)")
    method.add_argument(
        "--method",
        type=str,
        choices=("auto", "cut", "statevector", "stabilizer", "pauli", "mps"),
        default="auto",
        help="cut the circuit, or simulate it as a statevector, as a stabilizer state, by Pauli "
        "propagation or as a matrix product state; default: auto, which chooses for each part",
    )
    method.add_argument(
        "--error-tolerance",
        type=values.error_tolerance,
        default=1e-8,
        metavar="EPS",
        help="error bound that auto accepts, relative to the sum of absolute coefficients; "
        "default: 1e-8",
    )
    cut = parser.add_argument_group("where to cut (default: as the method decides)")
    ways = cut.add_mutually_exclusive_group()
    ways.add_argument(
        "--max-qubits",
        type=values.positive,
        metavar="W",
        help="search for cuts so that no subcircuit has more than W qubits",
    )
    ways.add_argument(
        "--cut-labels",
        metavar="AAABBB",
        help="one label for each qubit, or labels joined by commas; gates between labels are cut",
    )
    ways.add_argument("--partition", help=argparse.SUPPRESS)
    ways.add_argument(
        "--cuts", metavar="CUTS.json", help="file of cuts that `hpcq plan --save` wrote"
    )
    search = parser.add_argument_group(
        "search for cuts (with --max-qubits, or where the method is to cut)"
    )
    search.add_argument(
        "--objective",
        type=str,
        choices=("seconds", "overhead"),
        help="what to minimize: seconds of the exact run, or the sampling overhead (gamma "
        "squared); default: seconds, with shots overhead",
    )
    search.add_argument(
        "--search-seconds",
        type=values.seconds,
        metavar="S",
        help="approximate duration of the search; the same S, --seed and --memory find the same "
        "cuts; default: 3",
    )
    search.add_argument(
        "--reuse-qubits",
        action="store_true",
        default=None,
        help="W counts qubits of a backend that can measure, reset and reuse them",
    )
    search.add_argument(
        "--ranks",
        type=values.positive,
        default=1,
        metavar="R",
        help="number of ranks to plan for; the run may use any number; default: 1",
    )
    asked = parser.add_argument_group("what to compute (default: Z on every qubit)")
    asked.add_argument(
        "--observable",
        **_REPEATABLE,
        metavar="TEXT",
        help="'Z0 Z5 + 0.5 X2', a label ZIIX or label:Z0+- (rightmost is qubit 0), or an outcome "
        "0011 for its probability; repeatable",
    )
    asked.add_argument("--observables", metavar="FILE.json", help="JSON file of named observables")
    free = parser.add_argument_group("values of free parameters (`plan` needs none)")
    free.add_argument(
        "--parameter",
        **{**_REPEATABLE, "type": values.parameter},
        metavar="NAME=VALUE",
        help="value of a free parameter, a number, as in theta=0.3 or 'theta[0]=-1e-3'; repeatable",
    )
    free.add_argument(
        "--parameters",
        metavar="FILE.json",
        help='JSON file of values: {"theta": 0.3, "vector": [0.1, 0.2]}, or a list of such '
        "objects: one run then computes the values for each of them",
    )
    shots = parser.add_argument_group("shots, as on hardware (default: exact)")
    shots.add_argument(
        "--shots",
        type=values.shots,
        metavar="N",
        help="total number of shots of all variants; with --target-error, the maximum",
    )
    shots.add_argument(
        "--target-error",
        type=values.target_error,
        metavar="EPS",
        help="take shots until no standard error is larger than EPS",
    )
    shots.add_argument(
        "--max-variants",
        type=values.positive,
        metavar="V",
        help="variants of a subcircuit above which joint samples are drawn; default: 4096",
    )
    resources = parser.add_argument_group("resources and number format")
    resources.add_argument(
        "--seed",
        type=values.seed,
        default=0,
        metavar="N",
        help="seed of the search and of shots; default: 0",
    )
    resources.add_argument(
        "--threads", type=values.positive, metavar="T", help="threads of a rank; default: its cores"
    )
    resources.add_argument(
        "--memory",
        metavar="SIZE",
        help="memory of a rank, such as 4G; default: most of the free memory, shared "
        "by the ranks of a node",
    )
    resources.add_argument(
        "--read-seconds",
        type=values.positive,
        default=4,
        metavar="S",
        help="time limit for reading CIRCUIT; default: 4",
    )
    resources.add_argument(
        "--dtype",
        type=str,
        choices=tuple(DTYPES),
        help="number format of the simulation; default: complex128",
    )
    resources.add_argument(
        "--precision", type=values.precision, action="append", help=argparse.SUPPRESS
    )
