"""The flags of `plan` and `run`, in groups that other commands have too."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from hpcq.cli import option_values as values
from hpcq.core.limits import DTYPES

REPEATABLE: dict[str, Any] = {"action": "append", "default": []}
"""Keyword arguments of an option that may be given several times."""

METHODS = ("auto", "cut", "statevector", "stabilizer", "pauli", "mps")
"""Methods for expectation values."""

OUTCOME_METHODS = tuple(name for name in METHODS if name != "pauli")
"""Methods for outcomes: Pauli propagation has no states."""


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `plan`, which `run` and `submit` have too."""
    add_circuit(parser)
    add_method(parser)
    add_cut_options(parser)
    _add_observables(parser)
    add_parameters(parser)
    _add_shots(parser)
    add_resources(parser)


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
    add_device(run)
    add_shot_engine(run)
    going = add_long_runs(run)
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


def add_circuit(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the circuit."""
    parser.add_argument(
        "circuit",
        metavar="CIRCUIT",
        help="OpenQASM 2 or 3, QPY, example:NAME, or a job.toml with a circuit and options",
    )


def add_method(parser: argparse.ArgumentParser, methods: Sequence[str] = METHODS) -> None:
    """Add the options that choose one of some methods."""
    paulis = "by Pauli propagation, " if "pauli" in methods else ""
    method = parser.add_argument_group("method (default: the quickest one with an error bound)")
    method.add_argument(
        "--method",
        type=str,
        choices=methods,
        default="auto",
        help=f"cut the circuit, or simulate it as a statevector, as a stabilizer state, {paulis}"
        "or as a matrix product state; default: auto, which chooses for each part",
    )
    method.add_argument(
        "--error-tolerance",
        type=values.error_tolerance,
        default=1e-8,
        metavar="EPS",
        help="error bound that auto accepts, relative to the sum of absolute coefficients; for "
        "samples, total variation distance; default: 1e-8",
    )


def add_cut_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where to cut."""
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


def _add_observables(parser: argparse.ArgumentParser) -> None:
    """Add the options that name observables."""
    asked = parser.add_argument_group(
        "what to compute (default: Z on every qubit; `minimize` needs one observable)"
    )
    asked.add_argument(
        "--observable",
        **REPEATABLE,
        metavar="TEXT",
        help="'Z0 Z5 + 0.5 X2', a label ZIIX or label:Z0+- (rightmost is qubit 0), or an outcome "
        "0011 for its probability; repeatable",
    )
    asked.add_argument("--observables", metavar="FILE.json", help="JSON file of named observables")


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """Add the options that give values of free parameters."""
    free = parser.add_argument_group("values of free parameters (`plan` needs none)")
    free.add_argument(
        "--parameter",
        **{**REPEATABLE, "type": values.parameter},
        metavar="NAME=VALUE",
        help="value of a free parameter, a number, as in theta=0.3 or 'theta[0]=-1e-3'; repeatable",
    )
    free.add_argument(
        "--parameters",
        metavar="FILE.json",
        help='JSON file of values: {"theta": 0.3, "vector": [0.1, 0.2]}, or, for `run`, '
        "a list of such objects, at each of which the values are computed",
    )


def _add_shots(parser: argparse.ArgumentParser) -> None:
    """Add the options of shots, as on hardware."""
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


def add_resources(parser: argparse.ArgumentParser) -> None:
    """Add the options of resources and number format."""
    resources = parser.add_argument_group("resources and number format")
    resources.add_argument(
        "--seed",
        type=values.seed,
        default=0,
        metavar="N",
        help="seed of the search, of shots and of samples; default: 0",
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


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a simulator."""
    parser.add_argument(
        "--device",
        type=str,
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="where to simulate; default: auto",
    )
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help="simulator: aer, or one that another package registers; default: aer",
    )


def add_shot_engine(
    parser: argparse.ArgumentParser, title: str = "engine for shots (default: Aer without noise)"
) -> None:
    """Add the options that choose what measures shots, under a title."""
    engine = parser.add_argument_group(title)
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


def add_long_runs(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options of long runs, and return their group, for more of them."""
    going = parser.add_argument_group(
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
    return going
