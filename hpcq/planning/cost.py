"""What a plan costs in seconds and bytes, and what an uncut simulation would.

Seconds are those of one rank's run, from the speeds of :mod:`hpcq.planning.machine_speeds`: real
within a factor of two where the machine is calibrated, orders of magnitude where it is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcq.core.limits import Limits
from hpcq.cutting.gate_decompositions import WeightedGates
from hpcq.cutting.simulation_load import Load
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.cutting.subexperiments.pauli_products import worth_threads
from hpcq.planning.machine_speeds import Speeds
from hpcq.reconstruction.contraction_work import ContractionWork
from hpcq.reconstruction.network import as_float

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

LARGE_CONTRACTION = 1e10
"""Floating-point operations above which the contraction takes all threads."""

LONG_CONTRACTION = 3e10
"""Floating-point operations from which all ranks contract; about a second of one core."""

_BYTES = 16
_WIDEST_UNFUSED = 14
_HALVED_ABOVE = 64
_STEEP = 900
_SECONDS_OF_A_YEAR = 3.15e7
_MPS_SECONDS_PER_CUBE = 5.0e-8


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a plan.

    Attributes:
        simulation_seconds: All simulations and Pauli products, one after the other.
        longest_task_seconds: The longest single task.
        contraction_seconds: The contraction on rank 0.
        contraction_flops: Its real floating-point operations.
        task_bytes: Memory of the largest task, on whichever rank has it.
        contraction_bytes: Memory of the contraction on every rank; 0 where rank 0 does it alone.
        tensor_bytes: Memory of all tensors and of the contraction, on rank 0.
        uncut_seconds: An uncut statevector simulation; infinite where it does not fit.
        uncut_mps_seconds: Upper bound for an uncut matrix-product-state simulation.
        speeds: The constants behind the seconds.
    """

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

    @property
    def calibrated(self) -> bool:
        """Whether the seconds rest on measurements of this machine."""
        return self.speeds.calibrated

    def predicted_seconds(self, ranks: int = 1) -> float:
        """Predicted wall time on that many ranks."""
        farm = max(self.simulation_seconds / ranks, self.longest_task_seconds)
        return farm + self.contraction_seconds

    def predicted_years(self, ranks: int = 1) -> float:
        """The same in years; more than one is no plan to run."""
        return self.predicted_seconds(ranks) / _SECONDS_OF_A_YEAR

    @property
    def memory_bytes(self) -> int:
        """The most memory that a rank needs: rank 0, which keeps the tensors and works too."""
        return self.task_bytes + self.tensor_bytes

    @property
    def rank_bytes(self) -> int:
        """The most memory that a rank other than 0 needs."""
        return max(self.task_bytes, self.contraction_bytes)

    @property
    def cheaper_uncut(self) -> str | None:
        """Name of the uncut simulation that should be quicker than the cut one, if any."""
        ways = {
            "statevector": self.uncut_seconds,
            "matrix product state": self.uncut_mps_seconds,
        }
        best = min(ways, key=lambda way: ways[way])
        return best if ways[best] < self.predicted_seconds() else None


def task_seconds(tensor: ExactTensor, diagonal: bool, limits: Limits, speeds: Speeds) -> float:
    """Predict one task: one simulated branch (diagonal) or two, and their Pauli products."""
    simulation = _branch_seconds(tensor, limits, speeds)
    return (1 if diagonal else 2) * simulation + _products_seconds(tensor, diagonal, speeds)


def tensor_seconds(tensor: ExactTensor, limits: Limits, speeds: Speeds) -> float:
    """Predict all tasks of one tensor, one after the other.

    The first branch of a pair is kept for the next pair, so that there are as many simulations as
    tasks.
    """
    pairs = tensor.num_tasks - tensor.num_branches
    seconds = tensor.num_branches * task_seconds(tensor, True, limits, speeds)
    if pairs:
        product = _products_seconds(tensor, False, speeds)
        seconds += pairs * (_branch_seconds(tensor, limits, speeds) + product)
    return seconds


def _branch_seconds(tensor: ExactTensor, limits: Limits, speeds: Speeds) -> float:
    """Predict the simulation of one branch."""
    ports, load = len(tensor.open_ports), tensor.subcircuit.load
    opened = Load(load.gates + 2 * ports, load.passes + ports)
    return _simulation_seconds(tensor.simulated_qubits, opened, limits, speeds)


def _simulation_seconds(width: int, load: Load, limits: Limits, speeds: Speeds) -> float:
    """Predict one simulation; small states run gate by gate on one thread.

    A state is filled twice: when it is made, and when it is copied out.
    """
    unfused = power_of_two(min(width, _WIDEST_UNFUSED)) * load.gates * speeds.amplitude_gate
    fused = power_of_two(width) * load.passes * speeds.amplitude_pass
    return (
        speeds.simulation
        + load.gates * speeds.gate
        + (unfused if width <= _WIDEST_UNFUSED else max(unfused, fused))
        + power_of_two(width) * 2 * limits.amplitude_bytes * speeds.byte
    )


def _products_seconds(tensor: ExactTensor, diagonal: bool, speeds: Speeds) -> float:
    """Predict the Pauli products of one task (:mod:`hpcq.cutting.subexperiments.pauli_products`).

    Of a state with itself, only half the columns of all strings but the identity are multiplied,
    and of a product with many rows only half the entries.
    """
    strings, dimension, _ = tensor.block_shape
    rows = as_float(dimension)
    amplitudes = power_of_two(tensor.simulated_qubits)
    flops = 8.0 * rows * amplitudes
    if diagonal and rows > _HALVED_ABOVE:
        flops /= 2
    whole = flops * speeds.flop
    part = (
        speeds.string
        + amplitudes * speeds.amplitude_string
        + rows**2 * _BYTES * speeds.byte
        + (whole / 2 if diagonal else whole)
    )
    threads = min(speeds.threads, strings) if worth_threads(amplitudes, dimension) else 1
    return (whole if diagonal else 0) + strings * part / threads


def task_bytes(tensor: ExactTensor, limits: Limits) -> int:
    """Memory of one task: its states, and the products' results."""
    states = 1 if not tensor.sliced else 2
    strings, dimension, _ = tensor.block_shape
    size: int = states * limits.amplitude_bytes << tensor.simulated_qubits
    return size + 32 * strings * dimension**2


def stored_bytes(tensors: Sequence[ExactTensor], uses: Sequence[int]) -> int:
    """Memory of the tensors on rank 0: as blocks, assembled, and over the bonds of every use."""
    size = [16 * t.shape[0] * t.shape[1] * t.shape[2] for t in tensors]
    blocks = sum((2 if t.sliced else 1) * s for t, s in zip(tensors, size, strict=True))
    bonds = [size[use] for use in uses]
    return blocks + sum(bonds) + max(bonds, default=0)


def bond_bytes(tensors: Sequence[ExactTensor], uses: Sequence[int]) -> int:
    """Memory of the tensors over their bonds."""
    return sum(16 * math.prod(tensors[use].shape) for use in uses)


def contraction_seconds(work: ContractionWork, stored: int, terms: int, speeds: Speeds) -> float:
    """Predict a run but for its tasks: setting it up, putting the tensors together, contracting.

    Args:
        work: The contraction's.
        stored: Bytes of the tensors; see :func:`stored_bytes`.
        terms: Number of terms.
        speeds: The machine's.
    """
    threads = speeds.threads if work.flops > LARGE_CONTRACTION else 1
    return (
        speeds.run
        + (as_float(stored) + _BYTES * work.entries) * speeds.byte
        + work.flops * speeds.flop / threads
        + work.steps * speeds.step
        + work.products * speeds.string
        + terms * speeds.term
    )


def uncut_seconds(circuit: QuantumCircuit, limits: Limits, speeds: Speeds) -> float:
    """Predict an uncut statevector simulation; infinite where its state does not fit."""
    width: int = circuit.num_qubits
    if limits.amplitude_bytes << width > limits.memory_bytes:
        return float("inf")
    return _simulation_seconds(width, Load.of(circuit), limits, speeds)


def uncut_mps_seconds(circuit: QuantumCircuit, gates: WeightedGates, speeds: Speeds) -> float:
    """Bound an uncut matrix-product-state simulation from above.

    Between neighbouring qubits the bond dimension is at most the product of the dimensions of
    the gates across, and at most what the qubits on either side allow.

    Args:
        circuit: The normalised circuit.
        gates: Its two-qubit gates with the weights of their cuts.
        speeds: The machine's.
    """
    width = circuit.num_qubits
    bits = np.zeros(max(width - 1, 0))
    ceiling = np.minimum(np.arange(1, width), np.arange(width - 1, 0, -1))
    seconds = len(circuit.data) * speeds.gate
    for a, b, weight in gates:
        low, high = min(a, b), max(a, b)
        across = bits[low:high]
        across += weight
        np.minimum(across, ceiling[low:high], out=across)
        with np.errstate(over="ignore"):
            seconds += 2 * float(np.sum(8.0**across)) * _MPS_SECONDS_PER_CUBE
    return seconds


def power_of_two(bits: float) -> float:
    """Two to a power, and ever larger, though no longer so fast, where that would overflow."""
    if bits < _STEEP:
        return float(2.0**bits)
    return float(2.0**_STEEP * (1 + bits - _STEEP))
