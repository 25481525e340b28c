"""The flags of `submit`, and the commands that it submits."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from hpcq.cli import option_values as values
from hpcq.cli.loop_flags import add_minimize_options
from hpcq.cli.run_flags import REPEATABLE, add_plan_options, add_run_options
from hpcq.cli.sample_flags import add_sample_options


def _add_options_of_run(parser: argparse.ArgumentParser) -> None:
    add_plan_options(parser)
    add_run_options(parser)


def add_exec_options(parser: argparse.ArgumentParser) -> None:
    """Add the argument of `exec` before those of the script."""
    parser.add_argument("script", metavar="SCRIPT.py", help="script, which is run unchanged")


def _add_options_of_exec(parser: argparse.ArgumentParser) -> None:
    add_exec_options(parser)
    # What decides the size of a job: the script has these options of its plans.
    parser.set_defaults(threads=None, memory=None, backend=None, device="auto", script_arguments=())


SUBMITTED: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "run": _add_options_of_run,
    "sample": add_sample_options,
    "minimize": add_minimize_options,
    "exec": _add_options_of_exec,
}
"""The commands that `submit` submits, and the function that adds the options of each. The first is
what it submits without ``-- COMMAND``."""


def add_submit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `submit` alone, which describe the job."""
    if "--json" not in parser._option_string_actions:  # that of the command is the same
        parser.add_argument("--json", action="store_true", help="print one JSON object")
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
        "--module", **REPEATABLE, metavar="NAME", help="environment module to load; repeatable"
    )
    site.add_argument(
        "--setup", **REPEATABLE, metavar="LINE", help="line of shell to run first; repeatable"
    )
    site.add_argument(
        "--sbatch",
        **REPEATABLE,
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
