"""Runs with shots from the command line: files that can be refined, refusals, noise, devices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm2
from qiskit.primitives import BackendSamplerV2, BaseSamplerV2
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error

import hpcq
from hpcq.cli.main import main
from hpcq.kinds.shots.sampling import CutProblem, joint_sampling_of
from hpcq.planning.problem import Budget
from tests.support.circuits import two_halves
from tests.support.launch import hpcq as command
from tests.support.launch import hpcq_here


def chain(num_qubits: int = 6) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(0.3 + 0.2 * qubit, qubit)
    for qubit in range(num_qubits - 1):
        circuit.cz(qubit, qubit + 1)
    for qubit in range(num_qubits):
        circuit.rx(0.9 - 0.1 * qubit, qubit)
    return circuit


BASE = ("--cut-labels", "AAABBB", "--observable", "Z0 Z5", "--observable", "X2 + 0.5 Z3")


@pytest.fixture
def circuit(tmp_path: Path) -> str:
    path = tmp_path / "circuit.qasm"
    path.write_text(qasm2.dumps(chain()))
    return str(path)


def truth() -> np.ndarray:
    plan = hpcq.plan(chain(), ["Z0 Z5", "X2 + 0.5 Z3"], cut_labels="AAABBB", threads=1)
    return hpcq.run(plan, device="cpu").expectation_values


@pytest.mark.slow
def test_a_run_can_be_refined(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out.h5")
    errors = []
    for runs in (1, 2, 3):
        assert main(["run", circuit, *BASE, "--shots", "4000", "-o", output, "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        errors.append(shown["standard_errors"][0])
        assert shown["provenance"]["shots"] == 4000 * runs
        values, bars = np.array(shown["expectation_values"]), np.array(shown["standard_errors"])
        assert (np.abs(values - truth()) < 5 * bars).all()
    assert errors[0] > errors[1] > errors[2]
    assert main(["show", output]) == 0
    assert "12000 shots" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_precision_is_reached_in_rounds_that_help() -> None:
    """With one observable worse than the others, rounds once got as small as they may."""
    names = [f"Z{qubit}" for qubit in range(6)] + ["X0", "X5", "Z0 Z5", "X2 X3"]
    plan = hpcq.plan(two_halves(0), names, cut_labels="AAABBB", target_error=0.004, threads=1)
    result = hpcq.run(plan, device="cpu", time_limit=60)
    assert result.standard_errors.max() <= 0.004
    assert result.details is not None
    assert result.details.record is not None
    sizes = np.array([round_.weight for round_ in result.details.record.rounds])
    assert (sizes > 0.02 * np.cumsum(sizes)).all()


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    runs = [
        hpcq.run(
            hpcq.plan(
                chain(), "Z0 Z5", cut_labels="AAABBB", shots=3000, seed=seed, threads=threads
            ),
            device="cpu",
        )
        for seed, threads in ((1, 1), (1, 2), (2, 1))
    ]
    values = [run.expectation_values[0] for run in runs]
    assert values[0] == values[1] != values[2]
    assert runs[0].standard_errors[0] == runs[1].standard_errors[0]


@pytest.mark.mpi
@pytest.mark.parametrize(
    "more", [(), pytest.param(("--max-variants", "2"), marks=pytest.mark.nightly)]
)
def test_the_bits_are_the_same_on_any_number_of_ranks(circuit: str, more: tuple[str, ...]) -> None:
    arguments = ("run", circuit, *BASE, "--shots", "3000", "--json", *more)
    found = []
    for ranks in (1, 4):
        done = hpcq_here(*arguments) if ranks == 1 else command(*arguments, ranks=ranks)
        assert done.returncode == 0, done.stderr
        shown = json.loads(done.stdout)
        assert shown["provenance"]["ranks"] == ranks
        found.append((shown["expectation_values"], shown["standard_errors"]))
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--observable", "Z1", "--shots", "4000"), "observables differ"),
        ((*BASE[2:], "--shots", "4000", "--seed", "3"), "seed differ"),
        ((*BASE[2:], "--shots", "5"), "shots: 5, expected"),
        ((*BASE[2:], "--shots", "4000", "--max-variants", "2"), "max_variants: 2, but the earlier"),
        (BASE[2:], "holds shots"),
    ],
)
def test_another_run_never_replaces_shots(
    arguments: tuple[str, ...],
    said: str,
    circuit: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out.h5"
    assert main(["run", circuit, *BASE, "--shots", "4000", "-o", str(output)]) == 0
    before = output.read_bytes()
    capsys.readouterr()
    assert main(["run", circuit, *BASE[:2], *arguments, "-o", str(output)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert output.read_bytes() == before


@pytest.mark.slow
def test_shots_are_added_as_the_earlier_ones_were_drawn(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", circuit, *BASE, "--shots", "1000", "-o", str(tmp_path / "out.h5")]
    assert main([*words, "--max-variants", "2"]) == 0
    capsys.readouterr()
    assert main([*words, "--max-variants", "500"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "max_variants: 500" in line
    assert "expected 2 as before" in line
    assert main([*words, "--max-variants", "2"]) == 0  # as before
    assert main(words) == 0  # nothing asked for


@pytest.mark.slow
def test_shots_never_replace_an_exact_result(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out.h5")
    assert main(["run", circuit, *BASE, "-o", output]) == 0
    assert main(["run", circuit, *BASE, "--shots", "4000", "-o", output]) == 2
    assert "exact result" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--shots", "0"), "--shots"),
        (("--shots", "many"), "--shots"),
        (("--target-error", "-1"), "--target-error"),
        (("--target-error", "nan"), "--target-error"),
        (("--precision", "0.1", "--precision", "0.2"), "precision"),
        (("--max-variants", "10"), "max_variants"),
        (("--noise", "fake_brisbane"), "noise"),
        (("--shots", "100", "--noise", "nowhere.json"), "noise"),
        (("--shots", "1000", "--backend", "generic:2"), "2 qubits"),
        (("--shots", "1000", "--backend", "generic:9", "--noise", "x.json"), "noise"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], said: str, circuit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", circuit, *BASE, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.slow
def test_plan_says_how_shots_are_spent(circuit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", circuit, *BASE, "--shots", "4000", "--json"]) == 0
    sampling = json.loads(capsys.readouterr().out)["sampling"]
    assert sampling["mode"] == "enumerated"
    assert sampling["gamma_squared"] == pytest.approx([9.0])
    assert main(["plan", circuit, *BASE, "--target-error", "0.01", "--max-variants", "2"]) == 0
    printed = capsys.readouterr().out
    assert "joint" in printed
    assert "gamma squared 9" in printed


@pytest.mark.slow
def test_dtype_and_target_error_may_be_given(
    circuit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--target-error", "0.1", "--dtype", "complex64", "--json"]
    assert main(["run", circuit, *BASE, *arguments]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["config"]["precision"] == "single"
    assert max(shown["standard_errors"]) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("joint", [False, True])
def test_a_file_holds_all_that_was_measured(joint: bool, tmp_path: Path) -> None:
    plan = hpcq.plan(chain(), ["Z0 Z5", "X2"], cut_labels="AAABBB", shots=2000, threads=1)
    if joint:
        plan = replace(plan, sampling=joint_sampling_of(CutProblem.of(plan), Budget(2000)))
    once = hpcq.run(plan, device="cpu")
    once.save(tmp_path / "out.h5")
    loaded = hpcq.load(tmp_path / "out.h5")
    twice = [hpcq.run(plan, device="cpu", previous=result) for result in (once, loaded)]
    assert twice[0].expectation_values.tolist() == twice[1].expectation_values.tolist()
    assert twice[0].standard_errors.tolist() == twice[1].standard_errors.tolist()
    assert twice[0].provenance["shots"] == 4000
    with h5py.File(tmp_path / "out.h5") as file:
        rounds = file["sampling/rounds"].values()
        counted = sum(int(s["times"][()].sum()) for r in rounds for s in r["sources"].values())
    assert counted == 2000


def noise() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.03, 2), ["cz"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.01, 1), ["rx", "ry", "u"])
    model.add_all_qubit_readout_error(ReadoutError([[0.98, 0.02], [0.05, 0.95]]))
    return model


def test_noise_is_seen() -> None:
    plan = hpcq.plan(chain(), "Z0 Z1", cut_labels="AAABBB", shots=20_000, threads=1)
    ideal, noisy = (hpcq.run(plan, device="cpu", noise=model) for model in (None, noise()))
    away = abs(ideal.expectation_values - noisy.expectation_values)
    assert away > 5 * np.hypot(ideal.standard_errors, noisy.standard_errors)


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", [False, True])
def test_any_backend_measures(wrapped: bool) -> None:
    backend = GenericBackendV2(5, coupling_map=[[i, i + 1] for i in range(4)], seed=1)
    given = BackendSamplerV2(backend=backend) if wrapped else backend
    plan = hpcq.plan(chain(), "Z0 Z1", cut_labels="AAABBB", shots=600, threads=1)
    result = hpcq.run(plan, backend=given)
    exact = hpcq.plan(chain(), "Z0 Z1", cut_labels="AAABBB", threads=1)
    expected = hpcq.run(exact, device="cpu").expectation_values
    assert abs(result.expectation_values - expected) < 5 * result.standard_errors + 0.05
    assert result.provenance["shots"] == 600


@pytest.mark.slow
def test_a_device_gets_one_job_a_round_and_each_template_is_transpiled_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hpcq.engines import backend_sampler as devices

    jobs: list[int] = []
    compiled: list[QuantumCircuit] = []
    transpile = devices.transpile

    class Queue(BaseSamplerV2):
        """A device with a queue: a sampler that knows its backend."""

        _backend = GenericBackendV2(4, seed=1)

        def run(self, pubs, *, shots=None):  # noqa: ARG002 - each has its own
            jobs.append(len(pubs))
            return BackendSamplerV2(backend=self._backend).run(pubs)

    def count(circuit: QuantumCircuit, *rest: object) -> QuantumCircuit:
        compiled.append(circuit)
        return transpile(circuit, *rest)

    monkeypatch.setattr(devices, "transpile", count)
    plan = hpcq.plan(chain(), ["Z0 Z5", "X2 X3"], cut_labels="AAABBB", shots=4000, threads=1)
    result = hpcq.run(plan, backend=Queue())
    assert len(jobs) == result.provenance["rounds"] == 3
    assert min(jobs) >= 4
    assert len(compiled) == 4  # with and without the measurement at the cut gate, on either side
    assert max(circuit.num_qubits for circuit in compiled) == 3


@pytest.mark.slow
def test_two_runs_on_one_file_lose_no_shots(
    circuit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpcq.runs.file_output import FileOutput

    output = tmp_path / "out.h5"
    arguments = ["run", circuit, *BASE, "--shots", "4000", "-o", str(output)]
    assert main(arguments) == 0
    finish = FileOutput.finish

    def meanwhile(self: FileOutput, result: hpcq.Result) -> list[Path]:
        monkeypatch.setattr(FileOutput, "finish", finish)
        assert main(arguments) == 0
        return finish(self, result)

    monkeypatch.setattr(FileOutput, "finish", meanwhile)
    assert main([*arguments, "--json"]) == 0
    files = [hpcq.load(path).provenance["shots"] for path in sorted(tmp_path.glob("out*.h5"))]
    assert files == [8000, 8000]


@pytest.mark.slow
def test_a_precision_that_takes_endless_rounds_is_refused(circuit: str, tmp_path: Path) -> None:
    """Two variants a round: 16 shots at a time would go on for days."""
    output = tmp_path / "out.h5"
    how = ["--target-error", "1e-4", "--max-variants", "2", "-o", str(output)]
    done = command("run", circuit, *BASE, *how)
    assert done.returncode == 1
    assert "max_variants: 2, so that a round has at most" in done.stderr
    assert "Traceback" not in done.stderr
