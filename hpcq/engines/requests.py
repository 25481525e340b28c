"""Requests: the questions that an engine can answer about a piece, and the form of each answer.

The first axis of every answer counts the rows of parameters. The parameters of a subcircuit are the
angles of its slots (:mod:`hpcq.circuits.slots`), in the order of ``ExactTensor.slots``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PauliString
from hpcq.core.errors import InputError
from hpcq.core.limits import as_integer

Row = tuple[NDArray[np.uint64], NDArray[np.int64]]
"""Distinct outcomes, ascending, and the number of times that each occurred; bit b of an outcome is
classical bit b."""

NO_PARAMETERS = np.empty((1, 0))
"""The one row of a piece without parameters."""


class Request:
    """A question about a piece; the base class of all requests."""


@dataclass(frozen=True)
class Tensors(Request):
    """A block of the tensors of some Pauli strings; see :class:`ExactTensor.products`.

    The answer is complex128, shape (rows, strings, D, D), D the combined index of the open ports.

    Attributes:
        strings: The strings on the piece's wires.
        block: Number of the block, from a pair of branches.
        workspace: What an engine keeps from one block to the next, such as a state of half the
            rank's memory. It belongs to the caller, who clears it before another piece's blocks.
    """

    strings: tuple[PauliString, ...]
    block: int = 0
    workspace: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)


Operator = tuple[tuple[PauliString, float], ...]
"""A Hermitian operator on a piece's wires: a sum of Pauli strings with real coefficients."""


@dataclass(frozen=True)
class OperatorTensors(Request):
    """The tensors of operators: of sums of Pauli strings, for all branches of the piece.

    The answer is complex128, shape (rows, operators, D, D), D the combined index of the ports that
    share no ancilla with an earlier port, the first port the slowest digit.

    Attributes:
        operators: The operators, on wires without an output port.
    """

    operators: tuple[Operator, ...]


@dataclass(frozen=True, eq=False)
class Derivatives(Request):
    """Derivatives of sums over a piece's tensors, with respect to the piece's angles.

    A sum is the real part of environment times tensor, entry by entry, summed over all operators
    and entries. The tensors are the answer to :class:`OperatorTensors`, and nothing is conjugated.
    The answer is float64, shape (rows, sums, slots).

    Attributes:
        operators: The operators, on wires without an output port.
        environments: The environments, complex128, shape (rows, sums, operators, D, D).
    """

    operators: tuple[Operator, ...]
    environments: NDArray[np.complex128]


@dataclass(frozen=True)
class Amplitudes(Request):
    """All amplitudes of a branch, up to a global phase of the piece.

    The answer is complex, shape (rows, D, 2**wires), D the combined index of the open ports. Bit i
    of the last index is the outcome of the i-th wire without an output port. The amplitudes are
    normalised so that their products, summed over outcomes, are the tensor of the identity.

    Attributes:
        branch: Number of the branch.
    """

    branch: int = 0


@dataclass(frozen=True)
class PrefixGrams(Request):
    """For every value of the leading bits, the products of amplitudes summed over the other bits.

    The answer is complex128, shape (rows, 2**bits, D, D): for each prefix the products of a block's
    two branches. The leading bits are the highest: those of the last wires.

    Attributes:
        bits: Number of leading bits; with 0, the answer is the block of the identity string.
        block: Number of the block, from a pair of branches.
    """

    bits: int
    block: int = 0


@dataclass(frozen=True)
class Values(Request):
    """Expectation values of Pauli strings on a piece without ports, with bounds on their errors.

    The answer is float64, shape (rows, 2, strings): the values, and bounds on their absolute
    errors. A value that exceeds the tolerance or the work is given up: it is NaN, with an infinite
    bound.

    Attributes:
        strings: The strings on the piece's wires.
        cap: Maximum number of Pauli terms, or maximum bond dimension; 0 for the engine's default.
        tolerance: Absolute error above which a value is given up; None for no limit.
        max_work: Work above which values are given up, in the engine's units.
    """

    strings: tuple[PauliString, ...]
    cap: int = 0
    tolerance: float | None = None
    max_work: float = math.inf


@dataclass(frozen=True, eq=False)
class ShotCounts(Request):
    """Counts of outcomes; the answer has a :data:`Row` for each row of parameters.

    On simulators the same rows, shots and seed give the same counts. Rows are statistically
    independent.

    Attributes:
        shots: Number of shots of each row, at least 1, shape (rows,).
        seed: Seed of up to 63 bits.
    """

    shots: NDArray[np.int64]
    seed: int


@dataclass(frozen=True)
class Samples(Request):
    """Outcomes drawn from the ideal state of a piece without ports, with their probabilities.

    The answer is a list with a :class:`~hpcq.engines.sampled_outcomes.SampledOutcomes` for each row
    of parameters. Rows are statistically independent. The same rows, shots and seed give the same
    samples with any number of threads; on another machine too, except where a random number is
    within rounding errors of the boundary between two outcomes. Probabilities are squares of
    amplitudes, normalised in double precision whatever the precision of the simulation.

    Engines that truncate states, such as matrix product states, draw from the truncated, normalised
    state, return its probabilities, and bound their distance from the exact ones. If that exceeds
    the tolerance, or the work its maximum, the samples are given up. Other engines ignore the last
    three attributes.

    Attributes:
        shots: Number of shots of each row, at least 1.
        seed: Seed of up to 63 bits.
        cap: Maximum bond dimension; 0 for the engine's default.
        tolerance: Total variation distance from the exact distribution above which the samples are
            given up; None for no limit.
        max_work: Work above which the samples are given up, in the engine's units.
    """

    shots: int
    seed: int
    cap: int = 0
    tolerance: float | None = None
    max_work: float = math.inf

    def __post_init__(self) -> None:
        as_integer(self.shots, "shots", 1)
        if as_integer(self.seed, "seed", 0) >= 1 << 63:
            raise InputError(f"seed: {self.seed}, expected a whole number of up to 63 bits")


def check_rows(
    rows: NDArray[np.float64], shots: NDArray[np.int64], parameters: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return rows and shots as arrays of matching shapes.

    Raises:
        InputError: If the shapes do not match, or if a row has fewer than one shot.
    """
    rows, shots = np.asarray(rows, dtype=np.float64), np.asarray(shots, dtype=np.int64)
    if rows.ndim != 2 or rows.shape[1] != parameters or shots.shape != rows.shape[:1]:
        raise InputError(
            f"rows and shots: shapes {rows.shape} and {shots.shape}, expected "
            f"(n, {parameters}) and (n,)"
        )
    if shots.size and shots.min() < 1:
        raise InputError(f"shots: {shots.min()}, expected at least 1 for each row")
    return rows, shots


def sorted_row(outcomes: NDArray[np.uint64], times: NDArray[np.int64]) -> Row:
    """Return distinct outcomes in ascending order, without those of count 0."""
    occurred = times > 0
    outcomes, times = outcomes[occurred], times[occurred]
    order = np.argsort(outcomes)
    return outcomes[order], times[order]
