"""The flags of every command, with their help texts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from hpcq.cli import option_values as values
from hpcq.cli.loop_flags import add_minimize_options
from hpcq.cli.run_flags import add_plan_options, add_run_options
from hpcq.cli.sample_flags import add_sample_options
from hpcq.cli.submit_flags import SUBMITTED, add_exec_options, add_submit_options
from hpcq.core.errors import InputError
from hpcq.core.version import __version__

Command = Callable[[argparse.Namespace], int]

_SUBMIT_EPILOG = (
    "`hpcq submit [options of the job] -- COMMAND ...` submits another command, one of "
    f"{', '.join(SUBMITTED)}, with its own options."
)

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

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # The type of all values without another: an empty one is a shell variable that is unset.
        self.register("type", None, values.nonempty_text)

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


def build_parser(
    functions: Mapping[str, Command], submitted: str = "run"
) -> argparse.ArgumentParser:
    """Return the parser of all commands, whose functions become the option ``command``.

    That of `submit` has the options of the command that is ``submitted``.
    """
    parser = Parser(
        prog="hpcq",
        description="Compute expectation values and samples of a quantum circuit on MPI ranks: cut "
        "into subcircuits, or by the method that suits each part of it. `mpirun -n N hpcq run ...` "
        "and `srun hpcq run ...` are the same command on more ranks.",
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
    plan.add_argument(
        "--outcomes",
        action="store_true",
        help="plan a run of `hpcq sample`; N of --shots is the number of samples",
    )
    plan.add_argument("--json", action="store_true", help="print one JSON object")

    run = add_command("run", "compute the expectation values of one circuit or many")
    add_plan_options(run)
    add_run_options(run)

    sample = add_command("sample", "draw samples of a circuit, or compute probabilities")
    add_sample_options(sample)
    add_minimize_options(
        add_command("minimize", "minimise an observable over the free parameters of a circuit")
    )

    script = add_command("exec", "run a Python script on rank 0, whose calls of hpcq use all ranks")
    add_exec_options(script)
    script.add_argument("--source", help=argparse.SUPPRESS)  # the copy that a submitted job runs
    script.add_argument(
        "script_arguments",
        nargs=argparse.REMAINDER,
        type=str,
        metavar="...",
        help="arguments of the script: everything that follows it",
    )

    submit = add_command("submit", "run as a SLURM job or in the background")
    submit.epilog = _SUBMIT_EPILOG
    submit.set_defaults(submitted=submitted)
    SUBMITTED[submitted](submit)
    add_submit_options(submit)

    show = add_command("show", "print a result file, or the state of many circuits")
    show.add_argument(
        "file",
        metavar="OUT.h5",
        help="HDF5 file that hpcq wrote, or a folder of several circuits",
    )
    ways = show.add_mutually_exclusive_group()
    ways.add_argument("--json", action="store_true", help="print one JSON object")
    ways.add_argument(
        "--csv",
        action="store_true",
        help="print one line per observable, outcome or circuit",
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
