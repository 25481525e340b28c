"""Statevectors from Qiskit Aer; the only module that imports Aer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import EngineError, InputError, MissingDependencyError
from hpcq.core.limits import Device, Limits
from hpcq.engines.gpu import check_aer_build

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

CURE = "install it with: pip install 'hpcq[cpu]' (or 'hpcq[gpu]' for NVIDIA GPUs)"
GPU_CURE = "for NVIDIA GPUs: pip uninstall qiskit-aer, then pip install 'hpcq[gpu]'"
NO_GPU_SUPPORT = "this qiskit-aer is built without GPU support"


@dataclass(frozen=True)
class AerEngine:
    """Statevectors from Aer, with threads and memory set and never left to Aer's defaults.

    Attributes:
        limits: Threads, memory and precision of one simulation.
        device: ``cpu`` or ``gpu``.
    """

    limits: Limits
    device: Device = "cpu"

    def statevector(self, circuit: QuantumCircuit) -> NDArray[np.complexfloating]:
        """Run a circuit from |0...0>.

        Args:
            circuit: Unitary gates on one or two qubits.

        Returns:
            Its 2**n amplitudes, complex64 or complex128; qubit 0 is the lowest bit of the index.

        Raises:
            EngineError: If Aer refuses or fails; the message quotes Aer.
        """
        if circuit.num_qubits == 0:
            return np.ones(1, dtype=complex)
        circuit = self._native(circuit)
        circuit.save_statevector()
        # The public `run` converts single-precision results to double precision, which needs more
        # memory than the 2**n amplitudes of the raw output.
        output = self._simulator._execute_circuits_job(
            [circuit], None, {}, job_id="", format_result=False
        )
        if not output.get("success"):
            reason = " ".join(str(output.get("status", "no reason given")).split())
            raise EngineError(f"Aer failed on a circuit of {circuit.num_qubits} qubits: {reason}")
        return np.asarray(output["results"][0]["data"]["statevector"])

    @cached_property
    def _simulator(self) -> Any:
        aer = import_aer()
        return aer.AerSimulator(method="statevector", **simulator_options(self.limits, self.device))

    @cached_property
    def _basis(self) -> frozenset[str]:
        return frozenset(self._simulator.configuration().basis_gates)

    def _native(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return a copy with matrices for the gates that Aer does not know.

        Aer 0.18 silently transposes a matrix that is read-only and stored by rows, so it gets every
        matrix as a writable copy stored by columns.
        """
        used = set(circuit.count_ops())
        as_matrix = used - self._basis | used & {"unitary"}
        if not as_matrix:
            return circuit.copy()
        native = circuit.copy_empty_like()
        for instruction in circuit.data:
            if instruction.operation.name in as_matrix:
                matrix = np.array(instruction.operation.to_matrix(), dtype=complex, order="F")
                native.unitary(matrix, instruction.qubits)
            else:
                native.append(instruction, copy=False)
        return native


def simulator_options(limits: Limits, device: Device) -> dict[str, Any]:
    """Return the options of every simulator of Aer that a rank uses: its device and its limits."""
    return {
        "device": device.upper(),
        "precision": limits.precision,
        "max_parallel_threads": limits.threads,
        "max_parallel_experiments": 1,
        "max_parallel_shots": 1,
        "max_memory_mb": limits.memory_bytes >> 20,
    }


def choose_device(device: str) -> Device:
    """Resolve ``auto`` to a device that works here.

    Aer lists a GPU even where none is present, so a simulation is tried.

    Raises:
        InputError: If it is not auto, cpu or gpu, or if it is gpu and no GPU answers.
    """
    if device not in ("auto", "cpu", "gpu"):
        raise InputError(f"device: {device!r}, expected auto, cpu or gpu")
    if device == "cpu":
        return "cpu"
    works, reason = probe_gpu()
    if works:
        return "gpu"
    if device == "gpu":
        raise InputError(f"device: 'gpu', but no GPU works here ({reason}); expected auto or cpu")
    return "cpu"


def probe_gpu() -> tuple[bool, str]:
    """Return whether Aer runs on a GPU here, and a reason that applies if it does not."""
    if not has_gpu_support():
        return False, NO_GPU_SUPPORT
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(1)
    circuit.h(0)
    try:
        state = AerEngine(Limits(1 << 30), "gpu").statevector(circuit)
    except (EngineError, RuntimeError) as error:
        return False, str(error)
    return bool(np.allclose(state, np.sqrt(0.5))), "a known state came out wrong"


def has_gpu_support() -> bool:
    """Whether the installed Aer is built for GPUs, whether or not this machine has one.

    Raises:
        MissingDependencyError: If Aer is not installed.
    """
    return "GPU" in import_aer().AerSimulator().available_devices()


def aer_version() -> str:
    """Return the version of the installed Aer.

    Raises:
        MissingDependencyError: If Aer is not installed.
    """
    return str(import_aer().__version__)


def import_aer() -> Any:
    """Import Aer with the settings that hpcq needs, and return the module.

    Raises:
        InputError: If Aer is built with MPI.
        MissingDependencyError: If Aer is not installed or cannot be loaded.
    """
    # OpenMP threads that spin while they wait slow a busy machine down by a factor of ten and gain
    # nothing on an idle one. OpenMP reads the variable when Aer is first loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    check_aer_build()
    try:
        import qiskit_aer
    except ImportError as error:
        raise MissingDependencyError(f"qiskit-aer is not usable here ({error}); {CURE}") from None
    return qiskit_aer
