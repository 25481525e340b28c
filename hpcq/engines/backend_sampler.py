"""Shots from a device: any backend or sampler of Qiskit, including real quantum computers."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import EngineError, InputError
from hpcq.core.system import redact_secrets
from hpcq.cutting.subexperiments.device_circuits import Template
from hpcq.engines.backends import runtime_module, transpile
from hpcq.engines.compiled_circuits import early_measurements
from hpcq.engines.prepared import circuit_bytes
from hpcq.engines.protocol import (
    Cost,
    Piece,
    PreparedPiece,
    QueuedEngine,
    Refusal,
    ShotRun,
    Submission,
)
from hpcq.engines.requests import Request, Row, ShotCounts, check_rows, sorted_row

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_SHOT_SECONDS = 2.5e-4
"""Seconds of a shot: the usual repetition time of superconducting devices."""

_ON_AER = ("qiskit_ibm_runtime.fake_provider", "qiskit.providers.fake_provider", "qiskit_aer")
"""Modules whose backends simulate with Aer, if it is installed."""


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
class CompiledTemplate(PreparedPiece):
    """A template compiled for a device.

    Attributes:
        engine: The device.
        circuit: The compiled circuit.
        names: Names of the parameters, in the order of a row's columns.
    """

    engine: DeviceShots
    circuit: QuantumCircuit
    names: tuple[str, ...]

    def execute(self, rows: NDArray[np.float64], request: Request) -> list[Row]:
        """Measure some rows and wait for their counts."""
        assert isinstance(request, ShotCounts), "the engine refuses all others"
        return self.engine.measure([ShotRun(self, rows, request.shots)], request.seed)[0]

    @property
    def memory_bytes(self) -> int:
        """Bytes of the circuit."""
        return circuit_bytes(self.circuit)


@dataclass(frozen=True, eq=False)
class _Pub:
    """Rows of one run that have equal numbers of shots: a sampler's pub."""

    run: int
    rows: NDArray[np.intp]
    circuit: QuantumCircuit
    values: NDArray[np.float64]
    shots: int

    @classmethod
    def of(cls, number: int, run: ShotRun) -> Iterator[_Pub]:
        """Yield the pubs of a run."""
        prepared = run.prepared
        assert isinstance(prepared, CompiledTemplate), "the same device prepared it"
        rows, shots = check_rows(run.rows, run.shots, len(prepared.names))
        # Circuits sort parameters by name, but the columns of rows are in the template's order.
        columns = [prepared.names.index(p.name) for p in prepared.circuit.parameters]
        for value in np.unique(shots):
            chosen = np.flatnonzero(shots == value)
            yield cls(number, chosen, prepared.circuit, rows[chosen][:, columns], int(value))

    def by_row(self) -> list[_Pub]:
        """Return a pub for each row."""
        pairs = zip(self.rows[:, None], self.values[:, None], strict=True)
        return [replace(self, rows=row, values=values) for row, values in pairs]


@dataclass(frozen=True, eq=False)
class DeviceShots(QueuedEngine):
    """Shots from a device, with real mid-circuit measurements.

    Attributes:
        device: A ``BackendV2`` or any ``SamplerV2``.
        name: Its name.
    """

    device: Any
    name: str
    defers_measurements = False

    def __post_init__(self) -> None:
        check_device(self.device)

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

    def supports(self, piece: Piece, request: Request) -> Cost | Refusal:
        """Return the predicted cost of a request, or why it is refused."""
        if isinstance(piece, Template) and isinstance(request, ShotCounts):
            return Cost(_SHOT_SECONDS * float(request.shots.mean()), 0)
        return Refusal(
            f"it counts outcomes of templates, not {type(request).__name__} of "
            f"{type(piece).__name__}"
        )

    def prepare(self, piece: Piece) -> CompiledTemplate:
        """Compile a template for the device.

        Raises:
            InputError: If the device has too few qubits, or if the template has mid-circuit
                measurements and the device cannot run them.
        """
        from qiskit.primitives import StatevectorSampler

        assert isinstance(piece, Template), "the engine refuses all others"
        if isinstance(self.device, StatevectorSampler) and early_measurements(piece.circuit):
            raise InputError(
                f"backend: {self.name} cannot measure in the middle of a circuit, which cut gates "
                "need; expected another sampler, or cuts of wires only"
            )
        backend = self.backend
        circuit = piece.circuit.copy()
        if backend is not None:
            circuit = transpile(circuit, backend, "backend")
        circuit.name = "hpcq"
        return CompiledTemplate(self, circuit, tuple(p.name for p in piece.parameters))

    def submit(self, runs: Sequence[ShotRun], seed: int) -> Submission:
        """Submit rows of some templates.

        A real device gets one job. A simulator with a seed would reuse it for every number of
        shots, or even for every row, so these become separate jobs, each of which has ended before
        the next is submitted.

        Raises:
            EngineError: If the device refuses; the message quotes it.
        """
        jobs = self._divide(runs)
        seeds = np.random.SeedSequence(seed).generate_state(len(jobs), np.uint64) >> 33
        handles = []
        for job, job_seed in zip(jobs, seeds, strict=True):
            arguments = [(pub.circuit, pub.values, pub.shots) for pub in job]
            handles.append(self._call(self._sampler(int(job_seed)), "run", arguments))
            if len(jobs) > 1:
                self._call(handles[-1], "result")
        ids = tuple(_job_text(handle, "job_id") for handle in handles)
        return Submission(ids, (len(runs), list(zip(handles, jobs, strict=True))))

    def reopen(self, runs: Sequence[ShotRun], job_ids: Sequence[str]) -> Submission | None:
        """Return jobs that an earlier process has submitted, if the backend still knows them."""
        jobs, backend = self._divide(runs), self.backend
        retrieve = getattr(backend, "retrieve_job", None)
        retrieve = retrieve or getattr(getattr(backend, "service", None), "job", None)
        if retrieve is None or len(jobs) != len(job_ids) or not all(job_ids):
            return None
        try:
            handles = [retrieve(job_id) for job_id in job_ids]
        except Exception:  # each service raises other errors for a job that it does not know
            return None
        return Submission(tuple(job_ids), (len(runs), list(zip(handles, jobs, strict=True))))

    def _divide(self, runs: Sequence[ShotRun]) -> list[list[_Pub]]:
        """Return the pubs of each job that runs take."""
        pubs = [pub for number, run in enumerate(runs) for pub in _Pub.of(number, run)]
        if self._reseeds == "run":
            return [[pub] for pub in pubs]
        if self._reseeds == "row":
            return [[row] for pub in pubs for row in pub.by_row()]
        return [pubs] if pubs else []

    def poll(self, submission: Submission) -> bool:
        """Return whether all jobs have ended, well or not.

        Raises:
            EngineError: If the device does not answer; the message quotes it.
        """
        _, jobs = submission.jobs
        return all(self._call(handle, "in_final_state") for handle, _ in jobs)

    def collect(self, submission: Submission) -> list[list[Row]]:
        """Wait for the jobs and return their counts.

        Raises:
            EngineError: If a job failed; the message quotes the device.
        """
        num_runs, jobs = submission.jobs
        counts: list[dict[int, Row]] = [{} for _ in range(num_runs)]
        for handle, pubs in jobs:
            results = self._call(handle, "result")
            try:
                for pub, result in zip(pubs, results, strict=True):
                    for index, row in enumerate(pub.rows):
                        counts[pub.run][int(row)] = _counts(pub.circuit, result.data, index)
            except Exception as error:  # results of another job, or none
                job = _job_text(handle, "job_id") or "a job"
                raise EngineError(
                    f"{self.name} returned results for {job} that are not those of its "
                    f"circuits: {type(error).__name__}: {error}"
                ) from error
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

    def _call(self, target: Any, method: str, *arguments: Any) -> Any:
        """Call a method of a sampler or of a job, which may ask a service."""
        try:
            return getattr(target, method)(*arguments)
        except Exception as error:  # each service raises other errors
            reason = redact_secrets(" ".join(str(error).split()))[:500] or type(error).__name__
            known = {"job": _job_text(target, "job_id"), "status": _job_text(target, "status")}
            about = "".join(f", {label} {text}" for label, text in known.items() if text)
            raise EngineError(f"{self.name} failed{about}: {reason}") from error


def _is_real(backend: Any) -> bool:
    """Whether a backend is a device of the IBM Quantum Platform."""
    module = type(backend).__module__
    return module.startswith("qiskit_ibm_runtime") and not module.startswith(_ON_AER)


def _job_text(job: Any, method: str) -> str:
    """Return a job's id or status as text; empty if it is not known or no job."""
    try:
        return str(getattr(job, method)())
    except Exception:  # the error to report is that of the job
        return ""


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
    if joined is None or not len(joined):
        raise ValueError("no shots")
    outcomes, times = np.unique(joined, return_counts=True)
    return sorted_row(outcomes, times.astype(np.int64))
