"""Predict the seconds and bytes that a plan takes, and those of an uncut simulation.

The seconds are for one rank, from the speeds of :mod:`hpcq.planning.machine_speeds`: right within a
factor of two if the machine is calibrated, else only in their order of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hpcq.core.limits import COMPLEX_BYTES, Limits
from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.simulation_load import Load
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.cutting.subexperiments.pauli_products import GRAM_ROWS, worth_threads
from hpcq.planning.machine_speeds import Speeds
from hpcq.reconstruction.contraction_work import ContractionWork
from hpcq.reconstruction.network import as_float

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

LARGE_CONTRACTION = 1e10
"""Floating-point operations above which the contraction is predicted to use all threads."""

LONG_CONTRACTION = 3e10
"""Floating-point operations from which all ranks contract, and not rank 0 alone: 0.75 s of one core
at the default speed."""

MAX_UNFUSED_QUBITS = 14
"""Number of qubits up to which Aer fuses no gates: its default ``fusion_threshold``."""


_MAX_EXPONENT = 900
"""Exponent from which :func:`power_of_two` grows linearly. Floats hold powers up to 1023; the rest
is for the products and sums that costs consist of."""

_SECONDS_PER_YEAR = 3.15e7

_MPS_SECONDS_PER_CUBE = 5.0e-8
"""Seconds per cube of a bond dimension that Aer's matrix product state takes for one gate. Larger:
fewer plans say that an uncut simulation should be quicker."""


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a plan.

    Attributes:
        num_tasks: Number of tasks that simulate subcircuits.
        simulation_seconds: All simulations and Pauli products, one after the other.
        longest_task_seconds: The longest single task.
        contraction_seconds: The contraction on rank 0.
        contraction_flops: Real floating-point operations of the contraction.
        task_bytes: Memory of the largest task, on the rank that computes it.
        contraction_bytes: Memory of the contraction on every rank; 0 if rank 0 contracts alone.
        tensor_bytes: Memory of all tensors and of the contraction, on rank 0.
        uncut_seconds: An uncut statevector simulation; infinite if it does not fit.
        uncut_mps_seconds: Upper bound for an uncut matrix-product-state simulation.
        speeds: The speeds by which the seconds were predicted.
    """

    num_tasks: int
    simulation_seconds: float
    longest_task_seconds: float
    contraction_seconds: float
    contraction_flops: float
    task_bytes: int
    contraction_bytes: int
    tensor_bytes: int
    uncut_seconds: float
    uncut_mps_seconds: float
    speeds: Speeds

    def for_rows(self, rows: int) -> Cost:
        """Return the cost of a run at this many rows of parameters, at most.

        What rows have in common is computed once, and takes less.
        """
        return replace(
            self,
            num_tasks=rows * self.num_tasks,
            simulation_seconds=rows * self.simulation_seconds,
            contraction_seconds=rows * self.contraction_seconds,
            contraction_flops=rows * self.contraction_flops,
        )

    @property
    def calibrated(self) -> bool:
        """Whether the seconds rest on measurements of this machine."""
        return self.speeds.calibrated

    def predicted_seconds(self, ranks: int = 1) -> float:
        """Return the predicted wall time in seconds on a number of ranks."""
        farm = max(self.simulation_seconds / ranks, self.longest_task_seconds)
        return farm + self.contraction_seconds

    def predicted_years(self, ranks: int = 1) -> float:
        """Return the predicted wall time in years; a run of more than one is refused."""
        return self.predicted_seconds(ranks) / _SECONDS_PER_YEAR

    @property
    def memory_bytes(self) -> int:
        """Memory of rank 0, which needs most: it stores the tensors and computes tasks too."""
        return self.task_bytes + self.tensor_bytes

    @property
    def rank_bytes(self) -> int:
        """Memory of every rank other than 0."""
        return max(self.task_bytes, self.contraction_bytes)

    @property
    def cheaper_uncut(self) -> str | None:
        """Name of the uncut simulation predicted to be quicker than this plan, or None."""
        name = "statevector"
        if self.uncut_mps_seconds < self.uncut_seconds:
            name = "matrix product state"
        seconds = min(self.uncut_seconds, self.uncut_mps_seconds)
        return name if seconds < self.predicted_seconds() else None


def task_seconds(tensor: ExactTensor, diagonal: bool, limits: Limits, speeds: Speeds) -> float:
    """Predict the seconds of one task: one branch (diagonal) or two, and their Pauli products."""
    if tensor.simulation is not None:
        return tensor.simulation.seconds
    simulation = _branch_seconds(tensor, limits, speeds)
    return (1 if diagonal else 2) * simulation + _products_seconds(tensor, diagonal, speeds)


def tensor_seconds(tensor: ExactTensor, limits: Limits, speeds: Speeds) -> float:
    """Predict the seconds of all tasks of one tensor, one after the other.

    The first branch of a pair is kept for the next pair, so there are as many simulations as tasks.
    """
    if tensor.simulation is not None:
        return tensor.simulation.seconds
    pairs = tensor.num_tasks - tensor.num_branches
    seconds = tensor.num_branches * task_seconds(tensor, True, limits, speeds)
    if pairs:
        product = _products_seconds(tensor, False, speeds)
        seconds += pairs * (_branch_seconds(tensor, limits, speeds) + product)
    return seconds


def _branch_seconds(tensor: ExactTensor, limits: Limits, speeds: Speeds) -> float:
    """Predict the seconds of the simulation of one branch."""
    ports, load = len(tensor.open_ports), tensor.subcircuit.load
    load_with_ports = Load(load.gates + 2 * ports, load.passes + ports)
    return _simulation_seconds(tensor.simulated_qubits, load_with_ports, limits, speeds)


def _simulation_seconds(width: int, load: Load, limits: Limits, speeds: Speeds) -> float:
    """Predict the seconds of one simulation; small states run gate by gate on one thread.

    A state's memory is filled twice: when the state is created and when it is copied out.
    """
    unfused = power_of_two(min(width, MAX_UNFUSED_QUBITS)) * load.gates * speeds.amplitude_gate
    fused = power_of_two(width) * load.passes * speeds.amplitude_pass
    return (
        speeds.simulation
        + load.gates * speeds.gate
        + (unfused if width <= MAX_UNFUSED_QUBITS else max(unfused, fused))
        + power_of_two(width) * 2 * limits.amplitude_bytes * speeds.byte
    )


def _products_seconds(tensor: ExactTensor, diagonal: bool, speeds: Speeds) -> float:
    """Predict the seconds of one task's Pauli products.

    As :mod:`hpcq.cutting.subexperiments.pauli_products` does it, a product of a state with itself
    takes half the columns for every string but the identity, and half the entries of many rows.
    """
    strings, dimension, _ = tensor.block_shape
    rows = as_float(dimension)
    amplitudes = power_of_two(tensor.simulated_qubits)
    flops = 8.0 * rows * amplitudes
    if diagonal and rows > GRAM_ROWS:
        flops /= 2
    gram_seconds = flops * speeds.flop
    string_seconds = (
        speeds.string
        + amplitudes * speeds.amplitude_string
        + rows**2 * COMPLEX_BYTES * speeds.byte
        + (gram_seconds / 2 if diagonal else gram_seconds)
    )
    threads = min(speeds.threads, strings) if worth_threads(amplitudes, dimension) else 1
    return (gram_seconds if diagonal else 0) + strings * string_seconds / threads


def task_bytes(tensor: ExactTensor, limits: Limits) -> int:
    """Return the bytes of one task: its states and the results of its products."""
    if tensor.simulation is not None:
        return tensor.simulation.memory_bytes
    states = 1 if not tensor.sliced else 2
    strings, dimension, _ = tensor.block_shape
    size: int = states * limits.amplitude_bytes << tensor.simulated_qubits
    return size + 32 * strings * dimension**2


def stored_bytes(tensors: Sequence[ExactTensor], uses: Sequence[int]) -> int:
    """Return the bytes of the tensors on rank 0: blocks, assembled, and over bonds for each use."""
    size = [COMPLEX_BYTES * math.prod(tensor.shape) for tensor in tensors]
    blocks = sum((2 if t.sliced else 1) * s for t, s in zip(tensors, size, strict=True))
    bonds = [size[use] for use in uses]
    return blocks + sum(bonds) + max(bonds, default=0)


def bond_bytes(tensors: Sequence[ExactTensor], uses: Sequence[int]) -> int:
    """Return the bytes of the tensors over their bonds."""
    return sum(COMPLEX_BYTES * math.prod(tensors[use].shape) for use in uses)


def contraction_seconds(work: ContractionWork, stored: int, terms: int, speeds: Speeds) -> float:
    """Predict the seconds of a run without its tasks: setup, assembly of tensors, contraction.

    ``stored`` are the bytes of the tensors (:func:`stored_bytes`), ``terms`` counts the terms.
    """
    threads = speeds.threads if work.flops > LARGE_CONTRACTION else 1
    return (
        speeds.run
        + (as_float(stored) + COMPLEX_BYTES * work.entries) * speeds.byte
        + work.flops * speeds.flop / threads
        + work.steps * speeds.step
        + work.products * speeds.string
        + terms * speeds.term
    )


def uncut_seconds(circuit: QuantumCircuit, limits: Limits, speeds: Speeds) -> float:
    """Predict the seconds of an uncut statevector simulation; infinite if it does not fit."""
    width: int = circuit.num_qubits
    if limits.amplitude_bytes << width > limits.memory_bytes:
        return float("inf")
    return _simulation_seconds(width, Load.of(circuit), limits, speeds)


def uncut_mps_seconds(circuit: CircuitAnalysis, cubes: float, speeds: Speeds) -> float:
    """Return an upper bound on the seconds of an uncut matrix-product-state simulation.

    ``cubes`` are the :func:`cubes_of_bonds` of the circuit.
    """
    return len(circuit.steps) * speeds.gate + 2 * cubes * _MPS_SECONDS_PER_CUBE


def cubes_of_bonds(circuit: CircuitAnalysis) -> float:
    """Return the sum of the cubes of all bond dimensions at all gates, or infinity.

    The bond dimension between neighbouring qubits is at most the product of the dimensions of the
    gates across, and at most 2 to the number of qubits on either side.
    """
    width = circuit.num_qubits
    bits = np.zeros(max(width - 1, 0))
    ceiling = np.minimum(np.arange(1, width), np.arange(width - 1, 0, -1))
    cubes = 0.0
    with np.errstate(over="ignore"):
        for (a, b), weight in zip(circuit.pairs, circuit.bits, strict=True):
            low, high = min(a, b), max(a, b)
            across = bits[low:high]
            across += weight
            np.minimum(across, ceiling[low:high], out=across)
            cubes += float((8.0**across).sum())
    return cubes


def power_of_two(bits: float) -> float:
    """Return 2 to a power; where that would overflow, a finite number that still increases."""
    if bits < _MAX_EXPONENT:
        return float(2.0**bits)
    return float(2.0**_MAX_EXPONENT * (1 + bits - _MAX_EXPONENT))
