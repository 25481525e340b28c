"""What a plan costs in seconds and bytes, and what an uncut simulation would.

The constants are orders of magnitude of one core of a current machine; they order tasks and warn
of absurd plans, and are no promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcq.config import Limits
from hpcq.cutting.gates import WeightedGates
from hpcq.reconstruction.network import Network
from hpcq.variants.exact import ExactTensor

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

SECONDS_PER_AMPLITUDE_GATE = 1.3e-9
SECONDS_PER_GATE = 1.5e-5
SECONDS_PER_SIMULATION = 1.0e-3
FLOPS_PER_SECOND = 1.0e10
SECONDS_PER_AMPLITUDE_STRING = 3.0e-9
SECONDS_PER_ROW = 2.0e-5
SECONDS_PER_STEP = 2.0e-4
SECONDS_PER_BYTE = 1.5e-9
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
        tensor_bytes: Memory of all tensors and of the contraction, on rank 0.
        uncut_seconds: An uncut statevector simulation; infinite where it does not fit.
        uncut_mps_seconds: Upper bound for an uncut matrix-product-state simulation.
    """

    simulation_seconds: float
    longest_task_seconds: float
    contraction_seconds: float
    contraction_flops: float
    task_bytes: int
    tensor_bytes: int
    uncut_seconds: float
    uncut_mps_seconds: float

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
    def cheaper_uncut(self) -> str | None:
        """Name of the uncut simulation that should be quicker than the cut one, if any."""
        ways = {
            "statevector": self.uncut_seconds,
            "matrix product state": self.uncut_mps_seconds,
        }
        best = min(ways, key=lambda way: ways[way])
        return best if ways[best] < self.predicted_seconds() else None


def task_seconds(tensor: ExactTensor, diagonal: bool, limits: Limits) -> float:
    """Predict one task: one simulated branch (diagonal) or two, and their Pauli products."""
    width = tensor.simulated_qubits
    gates = len(tensor.subcircuit.circuit.data) + 2 * len(tensor.open_ports)
    speed = _speed(width, limits)
    simulation = (
        SECONDS_PER_SIMULATION
        + gates * SECONDS_PER_GATE
        + 2.0**width * gates * SECONDS_PER_AMPLITUDE_GATE / speed
    )
    strings, dimension, _ = tensor.block_shape
    products = strings * (
        2.0**width * (4.0 * dimension / FLOPS_PER_SECOND + SECONDS_PER_AMPLITUDE_STRING) / speed
        + SECONDS_PER_GATE
    )
    return (1 if diagonal else 2) * simulation + products


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


def contraction_seconds(network: Network, flops: float, stored: int, terms: int) -> float:
    """Predict the contraction: arithmetic, memory traffic, and the overhead of many steps."""
    traffic = stored + network.num_slices * network.sweep_bytes
    steps = network.num_slices * (len(network.steps) + 1)
    return (
        flops / FLOPS_PER_SECOND
        + traffic * SECONDS_PER_BYTE
        + steps * SECONDS_PER_STEP
        + terms * SECONDS_PER_ROW
    )


def uncut_seconds(circuit: QuantumCircuit, limits: Limits) -> float:
    """Predict an uncut statevector simulation; infinite where its state does not fit."""
    width: int = circuit.num_qubits
    if limits.amplitude_bytes << width > limits.memory_bytes:
        return float("inf")
    gates = len(circuit.data)
    return (
        SECONDS_PER_SIMULATION
        + gates * SECONDS_PER_GATE
        + 2.0**width * gates * SECONDS_PER_AMPLITUDE_GATE / _speed(width, limits)
    )


def uncut_mps_seconds(circuit: QuantumCircuit, gates: WeightedGates) -> float:
    """Bound an uncut matrix-product-state simulation from above.

    Between neighbouring qubits the bond dimension is at most the product of the dimensions of
    the gates across, and at most what the qubits on either side allow.

    Args:
        circuit: The normalised circuit.
        gates: Its two-qubit gates with the weights of their cuts.
    """
    width = circuit.num_qubits
    bits = np.zeros(max(width - 1, 0))
    ceiling = np.minimum(np.arange(1, width), np.arange(width - 1, 0, -1))
    seconds = len(circuit.data) * SECONDS_PER_GATE
    for a, b, weight in gates:
        low, high = min(a, b), max(a, b)
        across = bits[low:high]
        across += weight
        np.minimum(across, ceiling[low:high], out=across)
        with np.errstate(over="ignore"):
            seconds += 2 * float(np.sum(8.0**across)) * _MPS_SECONDS_PER_CUBE
    return seconds


def _speed(width: int, limits: Limits) -> float:
    """How much faster than one thread; small states run on one, and single precision gains none."""
    return limits.threads if width >= 14 else 1
