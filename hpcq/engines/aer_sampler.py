"""Templates as Qiskit Aer samples them, ideal or with noise.

All rows of a template with similar numbers of shots are one run of Aer, which binds the parameters
itself. With noise the template is first compiled to the noisy device's gates and qubits, and then a
density matrix is simulated and sampled, with mid-circuit measurements deferred to ancillas by
noiseless gates. If the density matrix would be too large or too slow, every shot is a separate
trajectory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import EngineError, InputError
from hpcq.cutting.subexperiments.device_circuits import Template
from hpcq.engines.aer import Aer
from hpcq.engines.backends import fake_backend, transpile
from hpcq.engines.compiled_circuits import defer_measurements, without_idle_qubits
from hpcq.engines.noise import Noise
from hpcq.engines.prepared import circuit_bytes
from hpcq.engines.protocol import PreparedPiece
from hpcq.engines.requests import Request, Row, ShotCounts, check_rows, sorted_row

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
class SampledTemplate(PreparedPiece):
    """A template that is ready to run.

    Attributes:
        aer: The simulators.
        parameters: Its parameters.
        methods: The methods that can run it: first a statevector, which with noise is one
            trajectory per shot, then a density matrix, if possible.
    """

    aer: Aer
    parameters: tuple[Parameter, ...]
    methods: tuple[SimulationMethod, ...]

    @classmethod
    def of(cls, template: Template, aer: Aer, noise: Noise | None) -> SampledTemplate:
        """Return a template ready to run; with noise, compiled for the noisy device.

        Raises:
            InputError: If the noisy device has too few qubits or lacks gates.
        """
        methods: tuple[SimulationMethod, ...]
        if noise is None:
            methods = (SimulationMethod("statevector", aer.native(template.circuit)),)
        else:
            compiled = aer.native(compile_for_noise(template.circuit, noise))
            methods = tuple(_noisy_methods(compiled, noise))
        return cls(aer, template.parameters, methods)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the circuits."""
        return circuit_bytes(*(method.circuit for method in self.methods))

    def execute(self, rows: NDArray[np.float64], request: Request) -> list[Row]:
        """Return the counts of some rows.

        Rows with similar numbers of shots are run together with the largest of these numbers; for
        rows with fewer shots, a random subset of the outcomes is drawn, which is cheaper than more
        runs.
        """
        assert isinstance(request, ShotCounts), "the engine refuses all others"
        rows, shots = check_rows(rows, request.shots, len(self.parameters))
        if not len(rows):
            return []
        method = self.choose_method(int(shots.max()))
        is_sampled = method.noise is None or method.method == "density_matrix"
        batches = list(_batches(shots, SHOT_SECONDS if is_sampled else TRAJECTORY_SECONDS[0]))
        # Aer seeds row i of a run with the run's seed + 2113 * i.
        sequence = np.random.SeedSequence(request.seed)
        seeds = sequence.generate_state(len(batches) + 1, np.uint64) >> 2
        rng = np.random.default_rng(int(seeds[0]))
        counts: dict[int, Row] = {}
        for batch, batch_seed in zip(batches, seeds[1:], strict=True):
            most = int(shots[batch].max())
            results = self._run(method, rows[batch], most, int(batch_seed))
            for row, result in zip(batch, results, strict=True):
                counts[int(row)] = _counts(result, int(shots[row]), most, rng)
        return [counts[row] for row in range(len(rows))]

    def _run(
        self, method: SimulationMethod, rows: NDArray[np.float64], shots: int, seed: int
    ) -> list[dict[str, Any]]:
        """Run rows with equal numbers of shots, and return Aer's result for each."""
        options: dict[str, Any] = {
            "shots": shots,
            "seed_simulator": seed,
            "runtime_parameter_bind_enable": True,
        }
        if method.noise is not None:
            options["noise_model"] = method.noise
        if self.aer.device == "gpu":
            options["batched_shots_gpu"] = True
        if self.parameters:
            circuits = [method.circuit]
            binds = [dict(zip(self.parameters, rows.T.tolist(), strict=True))]
        else:
            circuits, binds = [method.circuit] * len(rows), None
        simulator = self.aer.simulators[method.method]
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

    def choose_method(self, shots: int) -> SimulationMethod:
        """Return the fastest method for rows of up to this number of shots."""
        trajectories, limits = self.methods[0], self.aer.limits
        if len(self.methods) == 1:
            return trajectories
        density = self.methods[1]
        size = 4**density.circuit.num_qubits
        if size * limits.amplitude_bytes > limits.memory_bytes:
            return trajectories
        matrix = _seconds(MATRIX_SECONDS, density.circuit.size(), size)
        shot = _seconds(
            TRAJECTORY_SECONDS, trajectories.circuit.size(), 2**trajectories.circuit.num_qubits
        )
        return density if matrix < shots * shot else trajectories


def compile_for_noise(circuit: QuantumCircuit, noise: Noise) -> QuantumCircuit:
    """Return a template's circuit compiled to the noisy device's gates and all its qubits.

    Raises:
        InputError: If the device has too few qubits or lacks gates.
    """
    if noise.backend is not None:
        return transpile(circuit, _backend(noise.backend), "noise")
    pairs = noise.couplings
    coupled = {qubit for pair in pairs for qubit in pair}
    if coupled and len(coupled) < circuit.num_qubits:
        raise InputError(
            f"noise: {noise.name} has two-qubit errors on {len(coupled)} qubits only, but a "
            f"subcircuit needs {circuit.num_qubits}; expected more qubits, or errors of all "
            "pairs (without gate_qubits)"
        )
    return transpile(circuit, noise.basis_gates, "noise", pairs)


@lru_cache(maxsize=1)
def _backend(name: str) -> Any:
    return fake_backend(name, "noise")


def _noisy_methods(compiled: QuantumCircuit, noise: Noise) -> Iterator[SimulationMethod]:
    """Yield the methods that can run a compiled circuit."""
    circuit, qubits = without_idle_qubits(compiled)
    operations = set(circuit.count_ops())
    yield SimulationMethod("statevector", circuit, noise.restricted(qubits, {}, operations))
    deferred, measured_by = defer_measurements(circuit)
    if measured_by and noise.disturbs_measured:
        return
    device_qubit = {new: qubit for qubit, new in qubits.items()}
    copies = {ancilla: device_qubit[qubit] for ancilla, qubit in measured_by.items()}
    yield SimulationMethod("density_matrix", deferred, noise.restricted(qubits, copies, operations))


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
