"""Shots from a device: any backend or sampler of Qiskit, including real quantum computers."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import EngineError, InputError
from hpcq.core.system import redact_secrets
from hpcq.cutting.subexperiments.device_circuits import Template
from hpcq.engines.backends import runtime_module, transpile
from hpcq.engines.protocol import Row, ShotRequest, check_rows, sorted_row

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_ON_AER = ("qiskit_ibm_runtime.fake_provider", "qiskit.providers.fake_provider", "qiskit_aer")


def check_device(device: object) -> None:
    """Check that an object is a device.

    Raises:
        InputError: If it is neither a ``BackendV2`` nor a ``SamplerV2``.
    """
    from qiskit.primitives import BaseSamplerV2
    from qiskit.providers import BackendV2

    if not isinstance(device, BackendV2 | BaseSamplerV2):
        kind = type(device).__name__
        raise InputError(f"backend: {kind}, expected a BackendV2 or a SamplerV2 of Qiskit")


@dataclass(frozen=True, eq=False)
class _Pub:
    """Rows of one request that have equal numbers of shots: a sampler's pub."""

    number: int
    request: ShotRequest
    rows: NDArray[np.intp]

    def values(self) -> tuple[QuantumCircuit, NDArray[np.float64], int]:
        """Return the circuit, parameter values and shots, as samplers take them."""
        circuit, request = self.request.prepared, self.request
        names = circuit.metadata["parameters"]
        rows, shots = check_rows(request.rows, request.shots, len(names))
        column = {name: number for number, name in enumerate(names)}
        columns = [column[parameter.name] for parameter in circuit.parameters]
        return circuit, rows[self.rows][:, columns], int(shots[self.rows[0]])


def _rows_by_shots(request: ShotRequest) -> list[NDArray[np.intp]]:
    """Return the rows of each number of shots."""
    return [np.flatnonzero(request.shots == number) for number in np.unique(request.shots)]


@dataclass(frozen=True, eq=False)
class DeviceShots:
    """Shots from a device, with real mid-circuit measurements.

    Attributes:
        device: A ``BackendV2`` or any ``SamplerV2``.
        name: Its name.
    """

    device: Any
    name: str

    def __post_init__(self) -> None:
        check_device(self.device)

    @property
    def defers_measurements(self) -> bool:
        """Whether templates must have deferred measurements: never."""
        return False

    @property
    def backend(self) -> Any:
        """The backend, or None for a sampler without one."""
        from qiskit.providers import BackendV2

        if isinstance(self.device, BackendV2):
            return self.device
        for name in ("backend", "_backend", "mode"):
            value = getattr(self.device, name, None)
            value = value() if callable(value) else value
            if isinstance(value, BackendV2):
                return value
        return None

    def prepare(self, template: Template) -> QuantumCircuit:
        """Compile a template for the device.

        Raises:
            InputError: If the device has too few qubits, or if the template has mid-circuit
                measurements and the device cannot run them.
        """
        from qiskit.primitives import StatevectorSampler

        if isinstance(self.device, StatevectorSampler) and _measures_midway(template.circuit):
            raise InputError(
                f"backend: {self.name} cannot measure in the middle of a circuit, which cut gates "
                "need; expected another sampler, or cuts of wires only"
            )
        backend = self.backend
        circuit = template.circuit.copy()
        if backend is not None:
            circuit = transpile(circuit, backend, "backend")
        circuit.name = "hpcq"
        # Circuits sort parameters by name, but the columns of rows are in the template's order.
        circuit.metadata = {"parameters": [p.name for p in template.parameters]}
        return circuit

    def measure(self, runs: Sequence[ShotRequest], seed: int) -> list[list[Row]]:
        """Run rows of some templates; see :meth:`hpcq.engines.protocol.ShotEngine.measure`.

        A real device gets one job. A simulator with a seed would reuse it for every number of
        shots, or even for every row, so these become separate jobs.

        Raises:
            EngineError: If the device refuses or fails; the message quotes it.
        """
        pubs = [
            _Pub(number, request, rows)
            for number, request in enumerate(runs)
            for rows in _rows_by_shots(request)
        ]
        if self._reseeds == "run":
            jobs = [[pub] for pub in pubs]
        elif self._reseeds == "row":
            jobs = [[_Pub(p.number, p.request, np.array([row]))] for p in pubs for row in p.rows]
        else:
            jobs = [pubs] if pubs else []
        seeds = np.random.SeedSequence(seed).generate_state(len(jobs), np.uint64) >> 33
        counts: list[dict[int, Row]] = [{} for _ in runs]
        for job, job_seed in zip(jobs, seeds, strict=True):
            results = self._run(self._sampler(int(job_seed)), [pub.values() for pub in job])
            for pub, result in zip(job, results, strict=True):
                for index, row in enumerate(pub.rows):
                    row_counts = _counts(pub.request.prepared, result.data, index)
                    counts[pub.number][int(row)] = row_counts
        return [[by_row[row] for row in range(len(by_row))] for by_row in counts]

    @property
    def _reseeds(self) -> Literal["row", "run", ""]:
        """When a simulator reuses its seed: for each row, for each run of Aer, or never."""
        from qiskit.primitives import BackendSamplerV2
        from qiskit.providers import BackendV2

        backend, device = self.backend, self.device
        is_known = isinstance(device, BackendV2 | BackendSamplerV2)
        is_known |= type(device).__module__.startswith(("qiskit_aer", "qiskit_ibm_runtime"))
        if backend is None or not is_known or _is_real(backend):
            return ""
        if type(backend).__module__.startswith(_ON_AER) and importlib.util.find_spec("qiskit_aer"):
            return "run"
        return "row" if hasattr(backend.options, "seed_simulator") else ""

    def _sampler(self, seed: int) -> Any:
        """Return a sampler, with a seed if it takes one; the user's sampler is not changed."""
        from qiskit.primitives import BackendSamplerV2, StatevectorSampler
        from qiskit.providers import BackendV2

        device, backend, reseeds = self.device, self.backend, self._reseeds
        if isinstance(device, StatevectorSampler):
            sampler = copy.copy(device)
            # With an integer it would start from the same seed for every row.
            sampler._seed = np.random.default_rng(seed)
            return sampler
        if type(device).__module__.startswith("qiskit_aer.primitives"):
            sampler = copy.copy(device)
            sampler._seed = seed
            return sampler
        if reseeds:
            options: dict[str, Any] = {}
            if isinstance(device, BackendSamplerV2):
                options |= asdict(device.options)
            if reseeds == "run":
                # Aer's counts depend on the number of threads that share the shots.
                run_options = options.get("run_options") or {}
                options["run_options"] = {"max_parallel_shots": 1, **run_options}
            return BackendSamplerV2(backend=backend, options={**options, "seed_simulator": seed})
        if not isinstance(device, BackendV2):
            return device
        if _is_real(device):
            runtime = runtime_module("backend", self.name)
            return getattr(runtime, "SamplerV2", runtime.Sampler)(mode=device)
        return BackendSamplerV2(backend=device)

    def _run(self, sampler: Any, pubs: Sequence[tuple[Any, ...]]) -> Any:
        """Run one job and wait for its result."""
        job = None
        try:
            job = sampler.run(pubs)
            return job.result()
        except Exception as error:  # each service raises other errors
            reason = redact_secrets(" ".join(str(error).split()))[:500] or type(error).__name__
            raise EngineError(f"{self.name} failed{_job_status(job)}: {reason}") from error


def _is_real(backend: Any) -> bool:
    """Whether a backend is a device of the IBM Quantum Platform."""
    module = type(backend).__module__
    return module.startswith("qiskit_ibm_runtime") and not module.startswith(_ON_AER)


def _measures_midway(circuit: QuantumCircuit) -> bool:
    last = {q: index for index, i in enumerate(circuit.data) for q in i.qubits}
    return any(
        i.operation.name == "measure" and last[i.qubits[0]] != index
        for index, i in enumerate(circuit.data)
    )


def _job_status(job: Any) -> str:
    """Return a job's id and status for a message, as far as they are known."""
    text = ""
    for label, method in (("job", "job_id"), ("status", "status")):
        try:
            text += f", {label} {getattr(job, method)()}" if job is not None else ""
        except Exception:  # the error to report is that of the job
            continue
    return text


def _counts(circuit: QuantumCircuit, data: Any, index: int) -> Row:
    """Return the counts of one row, with the bits of all registers in the circuit's order."""
    joined: NDArray[np.uint64] | None = None
    for register in circuit.cregs:
        array = data[register.name].array[index]  # (shots, bytes), the first byte is the highest
        padded = np.zeros((len(array), 8), dtype=np.uint8)
        padded[:, 8 - array.shape[1] :] = array
        value = padded.view(">u8")[:, 0].astype(np.uint64)
        if joined is None:
            joined = np.zeros(len(value), dtype=np.uint64)
        bits = np.array([circuit.find_bit(bit).index for bit in register], dtype=np.uint64)
        for position, bit in enumerate(bits):
            joined |= ((value >> np.uint64(position)) & np.uint64(1)) << bit
    assert joined is not None
    outcomes, times = np.unique(joined, return_counts=True)
    return sorted_row(outcomes, times.astype(np.int64))
