import json
import os
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from qiskit import QuantumCircuit

import hpcq
from hpcq.cli.main import main
from hpcq.core.errors import InputError
from hpcq.core.limits import Limits
from hpcq.cutting.simulation_load import Load
from hpcq.cutting.subcircuits import Port, Subcircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.doctor.calibration import measure_speeds
from hpcq.doctor.machine_checks import calibrate
from hpcq.planning import cost
from hpcq.planning import machine_speeds as speeds
from hpcq.planning.machine_speeds import VARIABLE, Speeds, look_up, read_speeds, write_speeds
from hpcq.reconstruction.contraction_work import ContractionWork

LIMITS = Limits(1 << 30, 2)
MEASURED = replace(Speeds.usual(2), gate=2e-5, threads=1.7, calibrated=True)


@pytest.fixture
def place(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "speeds.json"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def tensor(width=6, gates=20, strings=3, ports=2):
    circuit = QuantumCircuit(width)
    for number in range(gates):
        circuit.ry(0.3, number % width)
        circuit.cx(number % width, (number + 1) % width)
    subcircuit = Subcircuit(
        circuit, tuple(range(width)), tuple(Port("gate", 0, 2) for _ in range(ports))
    )
    return ExactTensor(subcircuit, ((), *(((q, "Z"),) for q in range(strings - 1))))


def test_what_is_written_is_read_for_the_same_limits_only(place):
    assert write_speeds(LIMITS, MEASURED) == place
    other = replace(LIMITS, precision="single")
    write_speeds(other, replace(MEASURED, gate=3e-5))
    assert read_speeds(LIMITS) == MEASURED
    assert read_speeds(replace(LIMITS, memory_bytes=1 << 22)) == MEASURED
    assert read_speeds(other).gate == 3e-5
    assert read_speeds(replace(LIMITS, threads=3)) == Speeds.usual(3)
    assert not any(path.suffix == ".part" for path in place.parent.iterdir())


@pytest.mark.usefixtures("place")
def test_another_processor_reads_usual_speeds_and_leaves_the_first_ones(monkeypatch):
    write_speeds(LIMITS, MEASURED)
    with monkeypatch.context() as there:
        there.setattr(speeds, "processor", lambda: "another one")
        found, source = look_up(LIMITS)
        assert found == Speeds.usual(2)
        assert "not calibrated for this processor" in source
        write_speeds(LIMITS, replace(MEASURED, gate=4e-5))
        assert read_speeds(LIMITS).gate == 4e-5
    assert read_speeds(LIMITS) == MEASURED


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"format": "hpcq-calibration", "format_ver',
        b'{"format": "hpcq-calibration", "format_version": 2, "machines": {}}',
        b'{"format": "hpcq-calibration", "format_version": 1, "machines": [1]}',
    ],
    ids=["empty", "truncated", "newer", "list"],
)
def test_a_damaged_file_is_no_trouble_and_can_be_replaced(place, content):
    place.parent.mkdir()
    place.write_bytes(content)
    found, source = look_up(LIMITS)
    assert found == Speeds.usual(2)
    assert "not readable" in source
    write_speeds(LIMITS, MEASURED)
    assert read_speeds(LIMITS) == MEASURED


@pytest.mark.parametrize(
    "content",
    [b"\xff\x00", b"[" * 100_000, b"{}", b" " * (2 << 20)],
    ids=["binary", "deep", "foreign", "large"],
)
def test_a_foreign_file_is_left_alone(place, content):
    place.parent.mkdir()
    place.write_bytes(content)
    assert look_up(LIMITS)[0] == Speeds.usual(2)
    with pytest.raises(InputError, match="left as it is"):
        write_speeds(LIMITS, MEASURED)
    assert place.read_bytes() == content


@pytest.mark.parametrize("value", [0, -1e-5, 1e9, float("nan"), float("inf"), "1e-5", None, True])
def test_a_number_out_of_range_is_not_believed(place, value):
    write_speeds(LIMITS, MEASURED)
    content = json.loads(place.read_text())
    (entry,) = content["machines"].values()
    entry["gate"] = value
    place.write_text(json.dumps(content))
    found, source = look_up(LIMITS)
    assert found == Speeds.usual(2)
    assert "gate" in source


def test_places_that_cannot_be_read_or_written(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert read_speeds(LIMITS) == Speeds.usual(2)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "pipe"))
    assert read_speeds(LIMITS) == Speeds.usual(2)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "pipe" / "file.json"))
    assert read_speeds(LIMITS) == Speeds.usual(2)
    with pytest.raises(InputError, match="cannot write"):
        write_speeds(LIMITS, MEASURED)
    monkeypatch.setenv(VARIABLE, "none")
    assert look_up(LIMITS)[1] == f"usual speeds, because {VARIABLE} is none"
    with pytest.raises(InputError, match="'none'"):
        write_speeds(LIMITS, MEASURED)


def test_the_cache_folder_is_the_usual_one(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert write_speeds(LIMITS, MEASURED) == tmp_path / ".cache" / "hpcq" / "calibration.json"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert write_speeds(LIMITS, MEASURED) == tmp_path / "cache" / "hpcq" / "calibration.json"


@pytest.mark.usefixtures("place")
def test_reading_is_quick():
    write_speeds(LIMITS, MEASURED)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        read_speeds(LIMITS)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 5e-3


@pytest.mark.usefixtures("place")
def test_a_plan_says_whether_its_seconds_are_calibrated():
    circuit = QuantumCircuit(2)
    circuit.cx(0, 1)
    usual = hpcq.plan(circuit, cut_labels="AB", threads=2).cost
    assert not usual.calibrated
    write_speeds(LIMITS, replace(MEASURED, run=1.0))
    measured = hpcq.plan(circuit, cut_labels="AB", threads=2).cost
    assert measured.calibrated
    assert measured.predicted_seconds() > 1 > usual.predicted_seconds()


@pytest.mark.slow
def test_measuring_gives_credible_speeds():
    found = measure_speeds(Limits(1 << 30, 1), budget=0.0)
    assert found.calibrated
    assert found.threads == 1
    clipped = [n for n, bounds in speeds._ranges().items() if getattr(found, n) in bounds]
    assert len(clipped) <= 2, clipped  # the threads', and one that a busy machine may spoil


@pytest.mark.slow
def test_doctor_calibrate_writes_what_doctor_then_finds(place, monkeypatch, capsys):
    monkeypatch.setattr(
        "hpcq.doctor.machine_checks.calibrate", lambda threads: calibrate(threads or 1, budget=0.0)
    )
    monkeypatch.setattr("hpcq.doctor.machine_checks.usable_cores", lambda: frozenset({0}))
    monkeypatch.setattr("hpcq.doctor.srun_mpi.command_output", lambda *_, **__: "")
    assert main(["doctor"]) == 0
    assert "not calibrated (hpcq doctor --calibrate" in capsys.readouterr().out
    assert main(["doctor", "--calibrate"]) == 0
    shown = capsys.readouterr().out
    assert f"saved     {place}" in shown
    assert shown.count(f"calibrated, from {place}") == 2
    assert len(json.loads(place.read_text())["machines"]) == 2


def test_more_of_anything_is_never_cheaper():
    def seconds(**changes):
        return [
            cost.task_seconds(tensor(**changes), diagonal, limits, Speeds.usual(1))
            for diagonal in (True, False)
            for limits in (Limits(1 << 30), Limits(1 << 30, precision="single"))
        ]

    for name, values in {
        "width": range(3, 30),
        "gates": range(1, 200, 20),
        "strings": range(1, 4),
        "ports": range(12),
    }.items():
        found = [seconds(**{name: value}) for value in values]
        for less, more in pairwise(found):
            assert all(a < b for a, b in zip(less, more, strict=True)), name


def test_a_larger_contraction_is_never_cheaper():
    work = ContractionWork(flops=1e6, entries=1e4, steps=10, products=20)
    least = cost.contraction_seconds(work, 1000, 10, Speeds())
    for name in ("flops", "entries", "steps", "products"):
        more = replace(work, **{name: 2 * getattr(work, name)})
        assert cost.contraction_seconds(more, 1000, 10, Speeds()) > least
    assert cost.contraction_seconds(work, 2000, 10, Speeds()) > least
    assert cost.contraction_seconds(work, 1000, 20, Speeds()) > least


def test_gates_are_counted_by_the_work_that_they_are():
    circuit = QuantumCircuit(2)
    circuit.rx(0.1, 0)
    circuit.cx(0, 1)  # takes the rotation along
    circuit.rzz(0.1, 0, 1)  # a diagonal right after
    circuit.cx(0, 1)
    circuit.cp(0.1, 0, 1)  # a detour in Aer's Python
    assert Load.of(circuit) == Load(gates=7.0, passes=1 + 0.25 + 0.5 + 0.25)
