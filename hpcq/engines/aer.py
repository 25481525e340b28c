"""Qiskit Aer: loaded once a process, its simulators, and whether it works on a GPU.

No other module imports ``qiskit_aer``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.core.errors import EngineError, InputError, MissingDependencyError
from hpcq.core.limits import Device, Limits
from hpcq.engines.adjoint_states import State
from hpcq.engines.gpu import check_aer_build
from hpcq.engines.statevectors import Simulation

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

CURE = "install it with: pip install 'hpcq[cpu]' (or 'hpcq[gpu]' for NVIDIA GPUs)"
GPU_CURE = "for NVIDIA GPUs: pip uninstall qiskit-aer, then pip install 'hpcq[gpu]'"
NO_GPU_SUPPORT = "this qiskit-aer is built without GPU support"

_NO_GATES = frozenset({"measure", "barrier", "reset"})


@dataclass(frozen=True)
class Aer:
    """Aer's simulators, with threads and memory set and never left to Aer's defaults.

    Attributes:
        limits: Threads, memory and precision of one simulation.
        device: ``cpu`` or ``gpu``.
    """

    limits: Limits
    device: Device = "cpu"

    @cached_property
    def simulators(self) -> dict[str, Any]:
        """The ``AerSimulator`` of each method."""
        options = {
            "device": self.device.upper(),
            "precision": self.limits.precision,
            "max_parallel_threads": self.limits.threads,
            "max_parallel_experiments": 1,
            "max_parallel_shots": 1,
            "max_memory_mb": self.limits.memory_bytes >> 20,
        }
        simulator = import_aer().AerSimulator
        return {
            method: simulator(method=method, **options)
            for method in ("statevector", "density_matrix")
        }

    def native(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return a copy with matrices for the gates that Aer does not know.

        Aer 0.18 silently transposes a matrix that is read-only and stored by rows, so it gets every
        matrix as a writable copy stored by columns. The global phase is dropped: it changes neither
        counts nor products of states, and Aer cannot bind a phase that depends on parameters.
        """
        native = circuit.copy_empty_like()
        native.global_phase = 0
        for instruction in circuit.data:
            operation = instruction.operation
            if operation.name == "unitary" or operation.name not in self._basis:
                matrix = np.array(operation.to_matrix(), dtype=complex, order="F")
                native.unitary(matrix, instruction.qubits, label=operation.label)
            else:
                native._append(instruction)
        return native

    @cached_property
    def _basis(self) -> frozenset[str]:
        basis = self.simulators["statevector"].configuration().basis_gates
        return frozenset(basis) | _NO_GATES

    def compile_circuit(self, circuit: QuantumCircuit) -> Simulation:
        """Return a function that simulates a circuit from |0...0>.

        Args:
            circuit: Unitary gates on one or two qubits, without parameters.

        Returns:
            A function that returns the 2**n amplitudes, complex64 or complex128, up to a global
            phase, qubit 0 the lowest bit of the index. It raises EngineError if Aer refuses or
            fails; the message quotes Aer.
        """
        if circuit.num_qubits == 0:
            return lambda: np.ones(1, dtype=complex)
        return self._simulation(self.native(circuit))

    def evolve(self, circuit: QuantumCircuit, state: State) -> State:
        """Return a state, of any norm, after a circuit; see :meth:`compile_circuit`."""
        norm = float(np.linalg.norm(state))
        if norm == 0:
            return state
        native = circuit.copy_empty_like()
        native.set_statevector(np.asarray(state / norm, dtype=complex))
        for instruction in self.native(circuit).data:
            native._append(instruction)
        evolved: State = self._simulation(native)()
        return evolved * evolved.dtype.type(norm)

    def _simulation(self, native: QuantumCircuit) -> Simulation:
        """Return a function that simulates a circuit of Aer's gates."""
        simulator = self.simulators["statevector"]
        from qiskit_aer.backends.aer_compiler import assemble_circuit, generate_aer_config

        native.save_statevector()
        # Aer's `run` assembles a circuit each time, which takes longer than a small simulation. It
        # also converts single-precision results to double, which needs more memory than the 2**n
        # amplitudes of the raw output.
        assembled, _ = assemble_circuit(native)
        config = generate_aer_config([native], simulator.options)
        qubits = native.num_qubits

        def simulate() -> Any:
            output = simulator._execute_circuits([assembled], None, config)
            if not output.get("success"):
                reason = " ".join(str(output.get("status", "no reason given")).split())
                raise EngineError(f"Aer failed on a circuit of {qubits} qubits: {reason}")
            return np.asarray(output["results"][0]["data"]["statevector"])

        return simulate


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


@cache
def probe_gpu() -> tuple[bool, str]:
    """Return whether Aer runs on a GPU here, and a reason that applies if it does not."""
    if not has_gpu_support():
        return False, NO_GPU_SUPPORT
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(1)
    circuit.h(0)
    try:
        state = Aer(Limits(1 << 30), "gpu").compile_circuit(circuit)()
    except (EngineError, RuntimeError) as error:
        return False, str(error)
    return bool(np.allclose(state, np.sqrt(0.5))), "a known state came out wrong"


@cache
def has_gpu_support() -> bool:
    """Whether the installed Aer is built for GPUs, whether or not this machine has one.

    Raises:
        MissingDependencyError: If Aer is not installed.
    """
    return "GPU" in import_aer().AerSimulator().available_devices()


@cache
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
