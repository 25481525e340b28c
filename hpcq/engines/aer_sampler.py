"""Shots from Qiskit Aer, ideal or with noise.

All rows of a template that have about as many shots are one run of Aer, which binds the parameters
itself. With noise the template is compiled to the noisy device's gates and qubits first. A density
matrix is then sampled as a state is; its measurements in the middle of a circuit are deferred to
ancillas, by gates without noise. Where the density matrix would be too large or too slow, every
shot is a trajectory of its own.
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
from hpcq.engines.aer_statevector import _import_aer
from hpcq.engines.backends import fake_backend, transpile
from hpcq.engines.compiled_circuits import compact, defer
from hpcq.engines.noise import Noise
from hpcq.engines.protocol import Row, ShotRequest, check_rows, sorted_row

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter

CALL_SECONDS = 2e-3
"""What a run of Aer costs beside the simulation."""
SHOT_SECONDS = 4e-7
"""What one more shot of a known state costs."""
TRAJECTORY_SECONDS = (4.5e-5, 4e-7, 2e-9)
"""What a shot of a noisy state costs: once, each gate, and each gate for each amplitude."""
MATRIX_SECONDS = (2e-3, 4e-5, 1e-9)
"""What a row of a density matrix costs: once, each gate, and each gate for each number."""

_MAX_THINNED = 10**9
_UNITARY = "unitary"
_NO_GATES = frozenset({"measure", "barrier", "reset"})


@dataclass(frozen=True, eq=False)
class SimulationMethod:
    """One way to run a template.

    Attributes:
        method: Aer's method.
        circuit: The circuit.
        noise: Aer's ``NoiseModel``, if there is noise.
    """

    method: str
    circuit: QuantumCircuit
    noise: Any = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A template ready to be run.

    Attributes:
        parameters: Its parameters.
        ways: The ways to run it; the first is that of single shots, the second, if there is one,
            that of a density matrix.
    """

    parameters: tuple[Parameter, ...]
    ways: tuple[SimulationMethod, ...]


@dataclass(frozen=True)
class AerShots:
    """Shots from Aer, with threads and memory set and never left to its defaults.

    Attributes:
        limits: Threads, memory and precision of one simulation.
        device: ``cpu`` or ``gpu``.
        noise: The noise; none for an ideal device.
    """

    limits: Limits
    device: Device = "cpu"
    noise: Noise | None = None

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"aer {self.device}" + (f", noise {self.noise.name}" if self.noise else "")

    @property
    def deferred(self) -> bool:
        """Whether templates come with deferred measurements; noise needs to see the real ones."""
        return self.noise is None

    def prepare(self, template: Template) -> Prepared:
        """Convert a template, and compile it if there is noise.

        Raises:
            InputError: If the noisy device has too few qubits or lacks gates.
        """
        if self.noise is None:
            ways: tuple[SimulationMethod, ...] = (
                SimulationMethod("statevector", self._native(template.circuit)),
            )
        else:
            ways = tuple(self._noisy_ways(self._compiled(template.circuit), self.noise))
        return Prepared(template.parameters, ways)

    def measure(self, runs: Sequence[ShotRequest], seed: int) -> list[list[Row]]:
        """Run rows of some templates; see :meth:`hpcq.engines.protocol.ShotEngine.measure`.

        Raises:
            EngineError: If Aer refuses or fails; with Aer's own words.
        """
        seeds = np.random.SeedSequence(seed).generate_state(len(runs), np.uint64) >> 1
        return [
            self.sample(run.prepared, run.rows, run.shots, int(own))
            for run, own in zip(runs, seeds, strict=True)
        ]

    def sample(
        self, prepared: Prepared, rows: NDArray[np.float64], shots: NDArray[np.int64], seed: int
    ) -> list[Row]:
        """Run some rows of one template.

        Rows whose shots differ little are run with the most of them, and a random part of the
        outcomes is taken, which is cheaper than more runs.

        Raises:
            EngineError: If Aer refuses or fails; with Aer's own words.
        """
        rows, shots = check_rows(rows, shots, len(prepared.parameters))
        if not len(rows):
            return []
        way = self._way(prepared, int(shots.max()))
        sampled = way.noise is None or way.method == "density_matrix"
        batches = list(_batches(shots, SHOT_SECONDS if sampled else TRAJECTORY_SECONDS[0]))
        # Aer seeds row i of a run with the run's seed + 2113 * i.
        seeds = np.random.SeedSequence(seed).generate_state(len(batches) + 1, np.uint64) >> 2
        rng = np.random.default_rng(int(seeds[0]))
        answer: dict[int, Row] = {}
        for batch, own_seed in zip(batches, seeds[1:], strict=True):
            most = int(shots[batch].max())
            results = self._run(way, prepared.parameters, rows[batch], most, int(own_seed))
            for row, result in zip(batch, results, strict=True):
                answer[int(row)] = _counts(result, int(shots[row]), most, rng)
        return [answer[row] for row in range(len(rows))]

    def _run(
        self,
        way: SimulationMethod,
        parameters: Sequence[Parameter],
        rows: NDArray[np.float64],
        shots: int,
        seed: int,
    ) -> list[dict[str, Any]]:
        """Run rows with equal shots."""
        options: dict[str, Any] = {
            "shots": shots,
            "seed_simulator": seed,
            "runtime_parameter_bind_enable": True,
        }
        if way.noise is not None:
            options["noise_model"] = way.noise
        if parameters:
            circuits = [way.circuit]
            binds = [dict(zip(parameters, rows.T.tolist(), strict=True))]
        else:
            circuits, binds = [way.circuit] * len(rows), None
        simulator = self._simulators[way.method]
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
                f"Aer failed on a circuit of {way.circuit.num_qubits} qubits ({way.method}): "
                f"{reason}"
            )
        return list(output["results"])

    @cached_property
    def _simulators(self) -> dict[str, Any]:
        aer = _import_aer()
        gpu = {"batched_shots_gpu": True} if self.device == "gpu" else {}
        return {
            method: aer.AerSimulator(
                method=method,
                device=self.device.upper(),
                precision=self.limits.precision,
                max_parallel_threads=self.limits.threads,
                max_parallel_experiments=1,
                max_parallel_shots=1,
                max_memory_mb=self.limits.memory_bytes >> 20,
                **gpu,
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
        """Return a copy with matrices for the gates that Aer doesn't know.

        Aer 0.18 silently transposes a matrix that numpy marks read-only and stores by rows, so
        every matrix is handed over as a writable copy stored by columns. A global phase that
        depends on parameters makes it refuse to bind them, and is of no use here.
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
        """Compile a template to the noisy device's gates, on all of its qubits."""
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

    def _noisy_ways(self, compiled: QuantumCircuit, noise: Noise) -> Iterator[SimulationMethod]:
        """Yield the ways to run a compiled circuit."""
        circuit, qubits = compact(self._native(compiled))
        operations = set(circuit.count_ops())
        yield SimulationMethod("statevector", circuit, noise.part(qubits, {}, operations))
        whole, stands_for = defer(circuit)
        if stands_for and noise.disturbs_measured:
            return
        device_qubit = {own: qubit for qubit, own in qubits.items()}
        copies = {ancilla: device_qubit[qubit] for ancilla, qubit in stands_for.items()}
        yield SimulationMethod("density_matrix", whole, noise.part(qubits, copies, operations))

    def _way(self, prepared: Prepared, shots: int) -> SimulationMethod:
        """Choose a way to run rows by what it costs."""
        single = prepared.ways[0]
        if len(prepared.ways) == 1:
            return single
        whole = prepared.ways[1]
        size = 4**whole.circuit.num_qubits
        if size * self.limits.amplitude_bytes > self.limits.memory_bytes:
            return single
        matrix = _seconds(MATRIX_SECONDS, whole.circuit.size(), size)
        shot = _seconds(TRAJECTORY_SECONDS, single.circuit.size(), 2**single.circuit.num_qubits)
        return whole if matrix < shots * shot else single


def _seconds(costs: tuple[float, float, float], gates: int, size: int) -> float:
    return costs[0] + gates * (costs[1] + size * costs[2])


def _batches(shots: NDArray[np.int64], shot_seconds: float) -> Iterator[NDArray[np.intp]]:
    """Yield rows to be run together, each time with the most shots of any of them.

    What is simulated in vain costs less than another run would.
    """
    order = np.argsort(-shots, kind="stable")
    start, wasted = 0, 0.0
    for place, row in enumerate(order):
        most = int(shots[order[start]])
        waste = (most - int(shots[row])) * shot_seconds
        if waste and (wasted + waste > CALL_SECONDS or most >= _MAX_THINNED):
            yield order[start:place]
            start, wasted = place, 0.0
        else:
            wasted += waste
    yield order[start:]


def _counts(result: dict[str, Any], shots: int, most: int, rng: np.random.Generator) -> Row:
    """Read a row of Aer's results, and take a random part of it if it has too many shots."""
    counts = result["data"]["counts"]
    outcomes = np.fromiter((int(text, 16) for text in counts), np.uint64, len(counts))
    times = np.fromiter(counts.values(), np.int64, len(counts))
    if shots < most:
        order = np.argsort(outcomes)  # the dictionary's order is Aer's affair
        outcomes = outcomes[order]
        times = rng.multivariate_hypergeometric(times[order], shots, method="marginals")
    return sorted_row(outcomes, times)
