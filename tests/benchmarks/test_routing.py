"""How answers are judged, stored and asked for."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import routing
from routing_circuits import Entry
from routing_report import Case, summary

from tests.support.launch import ROOT


def _answer(value: float, bound: float | None = 0.0, seconds: float = 1.0) -> dict[str, Any]:
    return {
        "status": "answered",
        "values": [value],
        "bounds": [bound],
        "seconds": seconds,
        "scales": [2.0],
        "method": "",
        "limit": 20.0,
    }


def _case(**records: dict[str, Any]) -> Case:
    return Case("case", records)


_TRUTH = {"status": "answered", "values": [0.5], "scales": [2.0], "limit": 1.0, "seconds": 1.0}
_UNKNOWN = _TRUTH | {"values": [None]}


@pytest.mark.parametrize(
    ("value", "bound", "verdict"),
    [
        (0.5, 0.0, "right"),
        (0.5 + 1e-9, 0.0, "right"),  # rounding
        (0.5 + 1e-8, 2e-8, "right"),  # the tolerance is relative to the coefficients
        (0.5 + 1e-6, 0.0, "over"),
        (0.5 + 1e-3, 1e-4, "over"),
        (0.5 + 1e-3, 1e-2, "loose"),
        (0.5, 1e-2, "loose"),
        (0.5, None, "right"),
        (0.5 + 1e-6, None, "wrong"),
        (float("nan"), 0.0, "over"),
        (float("nan"), None, "wrong"),
    ],
)
def test_an_answer_is_judged_by_the_truth_and_by_its_own_bound(
    value: float, bound: float | None, verdict: str
) -> None:
    assert _case(truth=_TRUTH, mps=_answer(value, bound)).verdict("mps") == verdict


def test_without_truth_two_methods_that_agree_are_the_reference_and_auto_is_none() -> None:
    alone = _case(truth=_UNKNOWN, auto=_answer(0.3), cut=_answer(0.3))
    assert alone.verdict("auto") == "unchecked"
    agreed = _case(truth=_UNKNOWN, auto=_answer(0.4), cut=_answer(0.3), aer=_answer(0.3, None))
    assert agreed.verdict("cut") == "right"
    same = _answer(0.3) | {"method": "statevector"}
    assert _case(truth=_UNKNOWN, cut=same, statevector=same).verdict("cut") == "unchecked"
    assert agreed.verdict("auto") == "over"


def test_only_certified_answers_are_the_best_and_refusals_count_the_limit() -> None:
    refused = {"status": "refused", "seconds": 0.1, "limit": 20.0, "reason": "too wide"}
    case = _case(
        truth=_TRUTH,
        auto=_answer(0.5, 0.0, 3.0),
        statevector=refused,
        pauli=_answer(0.5, 1e-3, 0.01),
        mps=_answer(0.5, None, 0.02),
        cut=_answer(0.5, 0.0, 1.0),
    )
    assert case.best() == ("cut", 1.0)
    assert not case.near_best()
    assert case.seconds("statevector", 20.0) == 20.0
    assert case.seconds("pauli", 20.0) == 20.0
    text = summary([case], ["auto", "statevector", "cut"], 20.0)
    assert "on 0 of 1" in text
    assert "best: cut 1.000 s" in text


@pytest.mark.parametrize(
    ("seconds", "near"), [(1.9, True), (2.1, False), (0.3, True), (float("inf"), False)]
)
def test_near_the_best_is_two_times_or_a_little_more(seconds: float, near: bool) -> None:
    case = _case(truth=_TRUTH, auto=_answer(0.5, 0.0, seconds), cut=_answer(0.5, 0.0, 1.0))
    assert case.near_best() is near
    quick = _case(truth=_TRUTH, auto=_answer(0.5, 0.0, 0.29), cut=_answer(0.5, 0.0, 0.001))
    assert quick.near_best()


class _Recorder(routing.Worker):
    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request["method"])
        status = "timeout" if request["method"] == "cut" else "answered"
        return {"status": status, "seconds": 1.0, "values": [0.0], "bounds": [0.0], "scales": [1.0]}


def test_a_run_goes_on_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "out.json"

    def asked(limit: float, *again: str, observable: str = "Z0") -> list[str]:
        entry = Entry("any", "random", lambda: None, (observable,))
        options = argparse.Namespace(
            methods=("auto", "cut"), set="work", limit=limit, truth_limit=9
        )
        worker = _Recorder()
        routing.measure(entry, options, worker, routing.Records(path, again))
        return worker.asked

    assert asked(5.0) == ["truth", "auto", "cut"]
    assert asked(5.0) == []
    assert asked(6.0) == ["cut"]  # it may finish with more time
    assert asked(6.0, "auto") == ["auto"]
    assert asked(6.0, observable="Z1") == ["truth", "auto", "cut"]
    assert set(json.loads(path.read_text())["circuits"]["any"]) == {"truth", "auto", "cut"}


_STAND_IN = """
import json, os, resource, subprocess, sys
print("{}", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["method"] == "spin":
        resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
        while True:
            pass
    if request["method"] == "spawn":
        subprocess.run([sys.executable, "-c", "while True: pass"])
    if request["method"] == "die":
        os._exit(3)
    print(json.dumps({"status": "answered", "seconds": 0.5, "pid": os.getpid()}), flush=True)
"""


@pytest.mark.slow
def test_a_worker_that_spins_or_dies_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "stand_in.py"
    script.write_text(_STAND_IN)
    monkeypatch.setattr(routing, "_WORKER", script)
    monkeypatch.setattr(routing, "_MAKING_SECONDS", 0.5)
    worker = routing.Worker(1 << 30)

    def ask(method: str, limit: float = 5.0) -> dict[str, Any]:
        return worker.ask({"method": method, "limit": limit})

    try:
        first = ask("answer")
        assert ask("answer")["pid"] == first["pid"]
        assert ask("answer", 0.1)["status"] == "timeout"
        assert ask("spin")["status"] == "timeout"
        second = ask("answer")
        assert second["status"] == "answered"
        assert second["pid"] != first["pid"]
        assert ask("spawn", 0.2)["status"] == "timeout"
        died = ask("die")
        assert (died["status"], died["reason"]) == ("died", "exit code 3")
        assert ask("answer")["status"] == "answered"
    finally:
        worker.stop()


_QUICK = ("w-12", "grover-11", "random-4", "ghz-300")
"""Circuits of the work set that take little time, with Paulis, projectors and outcomes."""


@pytest.mark.slow
def test_the_benchmark_runs_a_circuit_by_hpcq_and_aer(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "routing.py"), "--only", *_QUICK]
    command += ["--methods", "auto", "cut", "aer", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    records = json.loads(path.read_text())["circuits"]
    assert set(records) == set(_QUICK)
    for name in _QUICK:
        case = Case(name, records[name])
        assert {case.verdict(method) for method in ("cut", "aer")} == {"right"}, name
        assert case.certifies("cut"), name
        assert case.verdict("auto") in ("right", "refused"), name  # never wrong
    assert Case("w-12", records["w-12"]).certifies("auto")
