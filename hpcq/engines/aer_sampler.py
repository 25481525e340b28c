"""Shots from Qiskit Aer, ideal or with noise.

All rows of a template with similar numbers of shots are one run of Aer, which binds the parameters
itself. With noise the template is first compiled to the noisy device's gates and qubits, and then a
density matrix is simulated and sampled, with mid-circuit measurements deferred to ancillas by
noiseless gates. If the density matrix would be too large or too slow, every shot is a separate
trajectory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import EngineError, InputError
from hpcq.core.limits import Device, Limits
from hpcq.cutting.subexperiments.device_circuits import Template
from hpcq.engines.aer_statevector import import_aer, simulator_options
from hpcq.engines.backends import fake_backend, transpile
from hpcq.engines.compiled_circuits import defer_measurements, without_idle_qubits
from hpcq.engines.noise import Noise
from hpcq.engines.protocol import Row, ShotRequest, check_rows, sorted_row

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter

CALL_SECONDS = 2e-3
"""Seconds that a run of Aer takes in addition to the simulation."""

SHOT_SECONDS = 4e-7
"""Seconds to sample one more shot of a simulated state."""

TRAJECTORY_SECONDS = (4.5e-5, 4e-7, 2e-9)
"""Seconds of a trajectory: per shot, per gate, and per gate and amplitude."""

MATRIX_SECONDS = (2e-3, 4e-5, 1e-9)
"""Seconds of a density matrix: per row, per gate, and per gate and matrix entry. These costs
only decide between statistically equivalent ways to sample."""

_MAX_THINNED = 10**9
"""Runs of this many shots or more are not shared with rows that need fewer: NumPy's hypergeometric
distribution, which draws the outcomes of these rows, takes fewer than 10**9."""

_UNITARY = "unitary"
_NO_GATES = frozenset({"measure", "barrier", "reset"})


@dataclass(frozen=True, eq=False)
class SimulationMethod:
    """A simulation method of Aer with the circuit that it runs.

    Attributes:
        method: Aer's name of the method.
        circuit: The circuit.
        noise: Aer's ``NoiseModel``; None without noise.
    """

    method: str
    circuit: QuantumCircuit
    noise: Any = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A template that is ready to run.

    Attributes:
        parameters: Its parameters.
        methods: The methods that can run it: first a statevector, which with noise is one
            trajectory per shot, then a density matrix, if possible.
    """

    parameters: tuple[Parameter, ...]
    methods: tuple[SimulationMethod, ...]


@dataclass(frozen=True)
class AerShots:
    """Shots from Aer, with threads and memory set and never left to Aer's defaults.

    Attributes:
        limits: Threads, memory and precision of one simulation.
        device: ``cpu`` or ``gpu``.
        noise: The noise; None for an ideal device.
    """

    limits: Limits
    device: Device = "cpu"
    noise: Noise | None = None

    @property
    def name(self) -> str:
        """Description of the engine, for messages."""
        return f"aer {self.device}" + (f", noise {self.noise.name}" if self.noise else "")

    @property
    def defers_measurements(self) -> bool:
        """Whether templates must have deferred measurements; noise acts on the real ones."""
        return self.noise is None

    def prepare(self, template: Template) -> Prepared:
        """Return a template ready to run; with noise, compiled for the noisy device.

        Raises:
            InputError: If the noisy device has too few qubits or lacks gates.
        """
        if self.noise is None:
            methods: tuple[SimulationMethod, ...] = (
                SimulationMethod("statevector", self._native(template.circuit)),
            )
        else:
            methods = tuple(self._noisy_methods(self._compiled(template.circuit), self.noise))
        return Prepared(template.parameters, methods)

    def measure(self, runs: Sequence[ShotRequest], seed: int) -> list[list[Row]]:
        """Return the counts of rows of some templates.

        See :meth:`hpcq.engines.protocol.ShotEngine.measure`.

        Raises:
            EngineError: If Aer refuses or fails; the message quotes Aer.
        """
        seeds = np.random.SeedSequence(seed).generate_state(len(runs), np.uint64) >> 1
        return [
            self.sample(run.prepared, run.rows, run.shots, int(run_seed))
            for run, run_seed in zip(runs, seeds, strict=True)
        ]

    def sample(
        self, prepared: Prepared, rows: NDArray[np.float64], shots: NDArray[np.int64], seed: int
    ) -> list[Row]:
        """Return the counts of some rows of one template.

        Rows with similar numbers of shots are run together with the largest of these numbers; for
        rows with fewer shots, a random subset of the outcomes is drawn, which is cheaper than more
        runs.

        Raises:
            EngineError: If Aer refuses or fails; the message quotes Aer.
        """
        rows, shots = check_rows(rows, shots, len(prepared.parameters))
        if not len(rows):
            return []
        method = self._choose_method(prepared, int(shots.max()))
        is_sampled = method.noise is None or method.method == "density_matrix"
        batches = list(_batches(shots, SHOT_SECONDS if is_sampled else TRAJECTORY_SECONDS[0]))
        # Aer seeds row i of a run with the run's seed + 2113 * i.
        seeds = np.random.SeedSequence(seed).generate_state(len(batches) + 1, np.uint64) >> 2
        rng = np.random.default_rng(int(seeds[0]))
        counts: dict[int, Row] = {}
        for batch, batch_seed in zip(batches, seeds[1:], strict=True):
            most = int(shots[batch].max())
            results = self._run(method, prepared.parameters, rows[batch], most, int(batch_seed))
            for row, result in zip(batch, results, strict=True):
                counts[int(row)] = _counts(result, int(shots[row]), most, rng)
        return [counts[row] for row in range(len(rows))]

    def _run(
        self,
        method: SimulationMethod,
        parameters: Sequence[Parameter],
        rows: NDArray[np.float64],
        shots: int,
        seed: int,
    ) -> list[dict[str, Any]]:
        """Run rows with equal numbers of shots, and return Aer's result for each."""
        options: dict[str, Any] = {
            "shots": shots,
            "seed_simulator": seed,
            "runtime_parameter_bind_enable": True,
        }
        if method.noise is not None:
            options["noise_model"] = method.noise
        if parameters:
            circuits = [method.circuit]
            binds = [dict(zip(parameters, rows.T.tolist(), strict=True))]
        else:
            circuits, binds = [method.circuit] * len(rows), None
        simulator = self._simulators[method.method]
        try:
            output = simulator._execute_circuits_job(
                circuits, binds, options, job_id="", format_result=False
            )
        except (RuntimeError, MemoryError) as error:
            output = {"status": str(error) or type(error).__name__}
        if not output.get("success"):
            reasons = [output.get("status", "no reason given")]
            reasons += [r["status"] for r in output.get("results", ()) if not r.get("success")][:1]
            reason = " ".join(" ".join(map(str, reasons)).split())
            raise EngineError(
                f"Aer failed on a circuit of {method.circuit.num_qubits} qubits ({method.method}): "
                f"{reason}"
            )
        return list(output["results"])

    @cached_property
    def _simulators(self) -> dict[str, Any]:
        aer = import_aer()
        gpu = {"batched_shots_gpu": True} if self.device == "gpu" else {}
        return {
            method: aer.AerSimulator(
                method=method, **simulator_options(self.limits, self.device), **gpu
            )
            for method in ("statevector", "density_matrix")
        }

    @cached_property
    def _backend(self) -> Any:
        assert self.noise is not None
        assert self.noise.backend is not None
        return fake_backend(self.noise.backend, "noise")

    @cached_property
    def _basis(self) -> frozenset[str]:
        basis = self._simulators["statevector"].configuration().basis_gates
        return frozenset(basis) | _NO_GATES

    def _native(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return a copy with matrices for the gates that Aer does not know.

        Aer 0.18 silently transposes a matrix that is read-only and stored by rows, so it gets every
        matrix as a writable copy stored by columns. The global phase is dropped: it does not change
        counts, and Aer cannot bind a phase that depends on parameters.
        """
        native = circuit.copy_empty_like()
        native.global_phase = 0
        for instruction in circuit.data:
            operation = instruction.operation
            if operation.name == _UNITARY or operation.name not in self._basis:
                matrix = np.array(operation.to_matrix(), dtype=complex, order="F")
                native.unitary(matrix, instruction.qubits, label=operation.label)
            else:
                native._append(instruction)
        return native

    def _compiled(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return a template compiled to the noisy device's gates and all its qubits."""
        noise = self.noise
        assert noise is not None
        if noise.backend is not None:
            return transpile(circuit, self._backend, "noise")
        pairs = noise.couplings
        coupled = {qubit for pair in pairs for qubit in pair}
        if coupled and len(coupled) < circuit.num_qubits:
            raise InputError(
                f"noise: {noise.name} has two-qubit errors on {len(coupled)} qubits only, but a "
                f"subcircuit needs {circuit.num_qubits}; expected more qubits, or errors of all "
                "pairs (without gate_qubits)"
            )
        return transpile(circuit, noise.basis_gates, "noise", pairs)

    def _noisy_methods(self, compiled: QuantumCircuit, noise: Noise) -> Iterator[SimulationMethod]:
        """Yield the methods that can run a compiled circuit."""
        circuit, qubits = without_idle_qubits(self._native(compiled))
        operations = set(circuit.count_ops())
        yield SimulationMethod("statevector", circuit, noise.restricted(qubits, {}, operations))
        deferred, measured_by = defer_measurements(circuit)
        if measured_by and noise.disturbs_measured:
            return
        device_qubit = {new: qubit for qubit, new in qubits.items()}
        copies = {ancilla: device_qubit[qubit] for ancilla, qubit in measured_by.items()}
        yield SimulationMethod(
            "density_matrix", deferred, noise.restricted(qubits, copies, operations)
        )

    def _choose_method(self, prepared: Prepared, shots: int) -> SimulationMethod:
        """Return the fastest method for rows of up to this number of shots."""
        trajectories = prepared.methods[0]
        if len(prepared.methods) == 1:
            return trajectories
        density = prepared.methods[1]
        size = 4**density.circuit.num_qubits
        if size * self.limits.amplitude_bytes > self.limits.memory_bytes:
            return trajectories
        matrix = _seconds(MATRIX_SECONDS, density.circuit.size(), size)
        shot = _seconds(
            TRAJECTORY_SECONDS, trajectories.circuit.size(), 2**trajectories.circuit.num_qubits
        )
        return density if matrix < shots * shot else trajectories


def _seconds(costs: tuple[float, float, float], gates: int, size: int) -> float:
    return costs[0] + gates * (costs[1] + size * costs[2])


def _batches(shots: NDArray[np.int64], shot_seconds: float) -> Iterator[NDArray[np.intp]]:
    """Yield the rows to run together, with the largest number of shots of any of them.

    Taking the shots that are discarded is quicker than another run would be.
    """
    order = np.argsort(-shots, kind="stable")
    start, wasted = 0, 0.0
    for position, row in enumerate(order):
        most = int(shots[order[start]])
        waste = (most - int(shots[row])) * shot_seconds
        if waste and (wasted + waste > CALL_SECONDS or most >= _MAX_THINNED):
            yield order[start:position]
            start, wasted = position, 0.0
        else:
            wasted += waste
    yield order[start:]


def _counts(result: dict[str, Any], shots: int, most: int, rng: np.random.Generator) -> Row:
    """Return the counts of one of Aer's results, reduced at random from ``most`` to ``shots``."""
    counts = result["data"]["counts"]
    outcomes = np.fromiter((int(text, 16) for text in counts), np.uint64, len(counts))
    times = np.fromiter(counts.values(), np.int64, len(counts))
    if shots < most:
        # The random draw depends on the order, which Aer does not define.
        order = np.argsort(outcomes)
        outcomes = outcomes[order]
        times = rng.multivariate_hypergeometric(times[order], shots, method="marginals")
    return sorted_row(outcomes, times)
