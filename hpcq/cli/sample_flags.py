"""The flags of `sample`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from hpcq.cli import option_values as values
from hpcq.cli import run_flags as common


class JoinValues(argparse._AppendAction):
    """Appends the values of one option as one text, with commas between them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        given: Any,
        option_string: str | None = None,
    ) -> None:
        """Append the values."""
        super().__call__(parser, namespace, ",".join(given), option_string)


def add_sample_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sample`."""
    common.add_circuit(parser)
    common.add_method(parser, common.OUTCOME_METHODS)
    common.add_cut_options(parser)
    asked = parser.add_argument_group("what to compute (default: 1024 samples)")
    asked.add_argument(
        "--shots",
        type=values.shots,
        metavar="N",
        help="number of perfect samples to draw, each with its probability; with --noise or "
        "--backend, number of shots of all variants",
    )
    asked.add_argument(
        "--probabilities",
        nargs="+",
        action="extend",
        default=[],
        metavar="B",
        help="outcomes whose probabilities to compute, as in Qiskit: the highest bit leftmost, "
        "registers separated by a space, as in '01 110'",
    )
    asked.add_argument(
        "--marginal",
        nargs="+",
        action=JoinValues,
        type=values.qubits,
        default=[],
        metavar="Q",
        help="measured qubits whose joint distribution to compute, as in --marginal 0 3; at most "
        "24; repeatable",
    )
    asked.add_argument(
        "--top", type=values.positive, metavar="K", help="the K most probable outcomes"
    )
    common.add_parameters(parser)
    common.add_resources(parser)
    parser.add_argument("-o", "--output", metavar="OUT.h5", help="HDF5 file to write and resume")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    common.add_device(parser)
    common.add_shot_engine(parser, "devices (estimates of probabilities and marginals, no samples)")
    common.add_long_runs(parser)
    # Options of `run` that are read by checks of all commands.
    parser.set_defaults(outcomes=True, target_error=None, max_variants=None, shared=False)


def as_qubits(texts: Sequence[str]) -> list[list[int]]:
    """Return the sets of qubits that ``--marginal`` gives."""
    return [[int(qubit) for qubit in text.split(",")] for text in texts]
