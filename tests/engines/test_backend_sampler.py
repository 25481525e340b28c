from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Parameter, QuantumRegister
from qiskit.primitives import BackendSamplerV2, StatevectorSampler
from qiskit.providers.basic_provider import BasicSimulator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_aer.primitives import SamplerV2

from hpcq.core.errors import EngineError, InputError
from hpcq.cutting.subexperiments.device_circuits import Template
from hpcq.engines.backend_sampler import DeviceShots
from hpcq.engines.backends import open_backend
from hpcq.engines.protocol import Cost, Refusal, ShotRun
from hpcq.engines.requests import Amplitudes, Row, ShotCounts
from tests.engines.test_aer_sampler import (
    circuit_of_four,
    fits,
    ideal,
    noisy,
    same,
    some_variants,
    tensors_of,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Qiskit backend:UserWarning"),
    pytest.mark.filterwarnings("ignore:The SamplerV2 class:DeprecationWarning"),
]

IDEAL = {
    "aer sampler": lambda: SamplerV2(),
    "aer backend": lambda: AerSimulator(),
    "backend sampler": lambda: BackendSamplerV2(backend=AerSimulator()),
    "generic": lambda: GenericBackendV2(3, seed=0, noise_info=False),
}


def sample(
    engine: DeviceShots, prepared: Any, rows: np.ndarray, shots: np.ndarray, seed: int
) -> list[Row]:
    """Measure rows of one template."""
    return engine.measure([ShotRun(prepared, rows, shots)], seed)[0]


@pytest.mark.slow
@pytest.mark.parametrize("make", IDEAL.values(), ids=IDEAL.keys())
def test_real_measurements_on_ideal_devices(make: Any) -> None:
    engine = DeviceShots(make(), "it")
    assert not engine.defers_measurements
    tensor = tensors_of(circuit_of_four())[1]
    deferred = some_variants(tensor, deferred=True)
    for (template, rows), (reference, _) in zip(
        some_variants(tensor, deferred=False), deferred, strict=True
    ):
        rows, shots = np.repeat(rows, 2, axis=0), np.array([3000, 500, 500, 3000])[: 2 * len(rows)]
        prepared = engine.prepare(template)
        counts = sample(engine, prepared, rows, shots, 2**62 + 1)
        assert same(counts, sample(engine, prepared, rows, shots, 2**62 + 1))
        for row, values, number in zip(counts, rows, shots, strict=True):
            assert row[1].sum() == number
            assert fits(row, ideal(reference, values))


def test_noise_of_a_device_and_its_readout() -> None:
    backend = GenericBackendV2(2, seed=3)
    engine = DeviceShots(backend, "generic")
    template, rows = some_variants(tensors_of(circuit_of_four())[0], deferred=False)[-1]
    prepared = engine.prepare(template)
    counts = sample(engine, prepared, rows, np.full(len(rows), 3000), 1)
    model = NoiseModel.from_backend(backend)
    for row, angles in zip(counts, rows, strict=True):
        values = dict(zip(template.parameters, angles, strict=True))
        assert fits(row, noisy(prepared.circuit.assign_parameters(values), model))


SEEDED = {
    "statevector sampler": lambda: StatevectorSampler(),
    "aer sampler": lambda: SamplerV2(),
    "basic simulator": lambda: BasicSimulator(),
    "generic": lambda: GenericBackendV2(2, seed=0, noise_info=False),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", SEEDED.values(), ids=SEEDED.keys())
def test_rows_are_independent(make: Any) -> None:
    device = make()
    engine = DeviceShots(device, "it")
    p = Parameter("p")
    circuit = QuantumCircuit(2, 2)
    circuit.rx(p, [0, 1])
    circuit.measure([0, 1], [1, 0])
    prepared = engine.prepare(Template(circuit, (p,), (), ""))
    rows, shots = np.full((4, 1), np.pi / 2), np.array([20000, 20000, 20001, 20002])
    counts = sample(engine, prepared, rows, shots, 1)
    tables = [times for _, times in counts]
    distances = [np.abs(tables[a] - tables[b]).sum() for a in range(4) for b in range(a)]
    assert min(distances) > 3
    assert same(counts, sample(engine, prepared, rows, shots, 1))
    assert not same(counts, sample(engine, prepared, rows, shots, 2))
    assert getattr(device, "_seed", None) is None


def test_parameters_registers_and_bits_keep_their_order() -> None:
    late, early = Parameter("z"), Parameter("a")
    low, high = ClassicalRegister(2, "low"), ClassicalRegister(38, "high")
    circuit = QuantumCircuit(QuantumRegister(2), low, high)
    circuit.rx(late, 0)
    circuit.rx(early, 1)
    circuit.measure(0, low[1])
    circuit.measure(1, high[37])
    template = Template(circuit, (late, early), (), "")
    for device in (SamplerV2(), StatevectorSampler(), open_backend("generic:2")):
        engine = DeviceShots(device, "it")
        rows = np.array([[np.pi, 0.0], [0.0, np.pi]])
        counts = sample(engine, engine.prepare(template), rows, np.array([100, 200]), 1)
        commonest = [int(outcomes[times.argmax()]) for outcomes, times in counts]
        assert commonest == [2, 1 << 39]
    bare = QuantumCircuit(1, 1)
    bare.x(0)
    bare.measure(0, 0)
    engine = DeviceShots(StatevectorSampler(), "it")
    counts = sample(
        engine, engine.prepare(Template(bare, (), (), "")), np.empty((2, 0)), np.array([3, 4]), 1
    )
    assert [(o.tolist(), t.tolist()) for o, t in counts] == [([1], [3]), ([1], [4])]


def test_what_a_device_cannot_do() -> None:
    template, _ = some_variants(tensors_of(circuit_of_four())[0], deferred=False)[-1]
    with pytest.raises(InputError, match="statevectors cannot measure in the middle"):
        DeviceShots(StatevectorSampler(), "statevectors").prepare(template)
    wide = QuantumCircuit(3, 1)
    wide.measure(0, 0)
    with pytest.raises(InputError, match="has 2 qubits, but a subcircuit needs 3"):
        DeviceShots(open_backend("generic:2"), "small").prepare(Template(wide, (), (), ""))
    with pytest.raises(InputError, match="backend: int, expected a BackendV2 or a SamplerV2"):
        DeviceShots(3, "three")


class FailingJob:
    def job_id(self) -> str:
        return "abc123"

    def status(self) -> str:
        return "ERROR"

    def result(self) -> None:
        raise RuntimeError("the fridge\nis warm")


class OneJobSampler(StatevectorSampler):
    """Record the jobs, then fail."""

    jobs: tuple[int, ...] = ()

    def run(self, pubs: Any, *, shots: int | None = None) -> Any:  # noqa: ARG002
        type(self).jobs += (len(list(pubs)),)
        return FailingJob()


def test_a_failed_job_is_named_and_was_the_only_one() -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    engine = DeviceShots(OneJobSampler(), "machine")
    prepared = engine.prepare(Template(circuit, (), (), ""))
    message = "machine failed, job abc123, status ERROR: the fridge is warm"
    with pytest.raises(EngineError, match=message):
        sample(engine, prepared, np.empty((3, 0)), np.array([5, 9, 5]), 1)
    assert OneJobSampler.jobs == (2,)


class QueuedJob:
    """A job of a sampler that waits in a queue."""

    def __init__(self, job: Any) -> None:
        self.job = job
        self.has_ended = False

    def job_id(self) -> str:
        return "abc123"

    def in_final_state(self) -> bool:
        return self.has_ended

    def result(self) -> Any:
        assert self.has_ended, "nobody waits"
        return self.job.result()


class QueuedSampler(StatevectorSampler):
    job: QueuedJob

    def run(self, pubs: Any, *, shots: int | None = None) -> Any:
        type(self).job = QueuedJob(super().run(pubs, shots=shots))
        return self.job


def test_shots_are_submitted_now_and_collected_later() -> None:
    p = Parameter("p")
    circuit = QuantumCircuit(1, 1)
    circuit.rx(p, 0)
    circuit.measure(0, 0)
    engine = DeviceShots(QueuedSampler(), "machine")
    prepared = engine.prepare(Template(circuit, (p,), (), ""))
    rows, shots = np.array([[np.pi], [0.0], [np.pi / 2]]), np.array([7, 8, 700])
    runs = [ShotRun(prepared, rows, shots), ShotRun(prepared, rows[:1], shots[:1])]
    submission = engine.submit(runs, 5)
    assert submission.job_ids == ("abc123",)
    assert not engine.poll(submission)
    QueuedSampler.job.has_ended = True
    assert engine.poll(submission)
    (ones, zeros, both), (again,) = engine.collect(submission)
    assert [(o.tolist(), t.tolist()) for o, t in (ones, zeros, again)] == [
        ([1], [7]),
        ([0], [8]),
        ([1], [7]),
    ]
    assert both[1].sum() == 700
    waited = DeviceShots(StatevectorSampler(), "machine").measure(runs, 5)
    assert same([ones, zeros, both], waited[0])
    assert engine.submit([], 5).job_ids == ()
    assert engine.collect(engine.submit([], 5)) == []


def test_a_device_that_does_not_answer_is_named() -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    engine = DeviceShots(OneJobSampler(), "machine")
    run = ShotRun(engine.prepare(Template(circuit, (), (), "")), np.empty((1, 0)), np.array([5]))
    submission = engine.submit([run], 1)
    assert submission.job_ids == ("abc123",)
    with pytest.raises(EngineError, match=r"job abc123, status ERROR: .*final_state"):
        engine.poll(submission)


def test_what_a_device_refuses() -> None:
    engine = DeviceShots(StatevectorSampler(), "machine")
    template, _ = some_variants(tensors_of(circuit_of_four())[0], deferred=False)[-1]
    refusal = engine.supports(template, Amplitudes())
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "it counts outcomes of templates, not Amplitudes of Template"
    cost = engine.supports(template, ShotCounts(np.array([4000]), 0))
    assert isinstance(cost, Cost)
    assert cost.seconds == pytest.approx(1)


@pytest.mark.parametrize("name", ["generic:", "generic:1", "generic:x", "generic:65", "generic:-1"])
def test_generic_backends_have_a_number(name: str) -> None:
    with pytest.raises(InputError, match="expected generic:N with N from 2 to 64"):
        open_backend(name)


@pytest.mark.slow
def test_backends_of_the_runtime() -> None:
    runtime = pytest.importorskip("qiskit_ibm_runtime")
    assert open_backend("Fake_Manila").name == "fake_manila"
    with pytest.raises(InputError, match="'fake_x', expected a fake backend"):
        open_backend("fake_x")
    backend = open_backend("fake_manila")
    template, rows = some_variants(tensors_of(circuit_of_four())[0], deferred=False)[-1]
    model = NoiseModel.from_backend(backend)
    repeats = []
    for device in (backend, runtime.SamplerV2(mode=backend)):
        engine = DeviceShots(device, "manila")
        assert engine.backend is backend
        prepared = engine.prepare(template)
        repeats.append(sample(engine, prepared, rows, np.full(len(rows), 2000), 1))
        for row, angles in zip(repeats[-1], rows, strict=True):
            values = dict(zip(template.parameters, angles, strict=True))
            assert fits(row, noisy(prepared.circuit.assign_parameters(values), model))
    assert same(*repeats)


def test_real_backends_get_one_job_of_the_runtimes_sampler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = pytest.importorskip("qiskit_ibm_runtime")

    class Backend(GenericBackendV2):
        __module__ = "qiskit_ibm_runtime.ibm_backend"

    modes, pubs_of = [], []

    class Sampler(StatevectorSampler):
        def __init__(self, mode: object) -> None:
            super().__init__(seed=1)
            modes.append(mode)

        def run(self, pubs: Any, *, shots: int | None = None) -> Any:
            pubs_of.append([(values.shape, number) for _, values, number in pubs])
            return super().run(pubs, shots=shots)

    monkeypatch.setattr(runtime, "SamplerV2", Sampler)
    backend = Backend(2, seed=0)
    engine = DeviceShots(backend, "ibm_x")
    p = Parameter("p")
    circuit = QuantumCircuit(1, 1)
    circuit.rx(p, 0)
    circuit.measure(0, 0)
    prepared = engine.prepare(Template(circuit, (p,), (), ""))
    rows = np.array([[0.0], [np.pi], [0.0]])
    counts = sample(engine, prepared, rows, np.array([5, 9, 5]), 1)
    assert [(o.tolist(), t.tolist()) for o, t in counts] == [([0], [5]), ([1], [9]), ([0], [5])]
    assert modes == [backend]
    assert pubs_of == [[((2, 1), 5), ((1, 1), 9)]]


def test_an_account_that_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = pytest.importorskip("qiskit_ibm_runtime")

    def refuse() -> None:
        raise ValueError("no account\nis saved")

    monkeypatch.setattr(runtime, "QiskitRuntimeService", refuse)
    with pytest.raises(
        InputError, match=r"\Abackend: 'ibm_x' cannot be opened: no account is saved; expec.*\Z"
    ):
        open_backend("ibm_x")
