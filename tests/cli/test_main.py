"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from qiskit import QuantumCircuit

import hpcq as hpcq_package
from hpcq.cli.main import main
from hpcq.core.errors import InputError
from tests.support.launch import ROOT, hpcq, hpcq_here, run

CIRCUIT = """OPENQASM 2.0; include "qelib1.inc"; qreg q[6]; creg c[6];
h q[0]; cx q[0],q[1]; cx q[1],q[2]; cz q[2],q[3]; ry(0.4) q[3]; cx q[3],q[4]; cx q[4],q[5];
measure q -> c;
"""
OLD = ("--partition", "AAABBB", "--memory", "1G", "--threads", "1")
BASE = ("--cut-labels", "AAABBB", "--memory", "1G", "--threads", "1")


@pytest.fixture
def circuit(tmp_path: Path) -> str:
    path = tmp_path / "circuit.qasm"
    path.write_text(CIRCUIT)
    return str(path)


def test_run_writes_what_show_prints(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = str(tmp_path / "out.h5")
    asked = ("--observable", "Z0 Z2", "--observable", "X0 + 0.5 IIIIIZ")
    assert main(["run", circuit, *BASE, *asked, "-o", output, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["observables"] == ["Z0 Z2", "X0 + 0.5 IIIIIZ"]
    assert printed["expectation_values"] == pytest.approx([1.0, 0.0], abs=1e-12)
    assert printed["standard_errors"] == [0.0, 0.0]
    assert printed["status"] == "complete"
    assert main(["show", output, "--json"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["expectation_values"] == printed["expectation_values"]
    )
    assert main(["show", output]) == 0
    assert "Z0 Z2" in capsys.readouterr().out


@pytest.mark.slow
def test_plan_prints_saves_and_its_cuts_run(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    saved = str(tmp_path / "cuts.json")
    assert main(["plan", circuit, "--max-qubits", "3", "--json", "--save", saved]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["num_gate_cuts"] == 1
    assert plan["num_wire_cuts"] == 0
    assert plan["sampling_overhead"] == pytest.approx(9)
    assert [s["num_qubits"] for s in plan["subcircuits"]] == [3, 3]
    assert [s["ports"] for s in plan["subcircuits"]] == [1, 1]
    assert plan["predicted_seconds"] > 0
    assert plan["memory_bytes"] > 0
    assert main(["run", circuit, "--cuts", saved, "--json"]) == 0
    run_again = json.loads(capsys.readouterr().out)
    assert len(run_again["observables"]) == 6
    assert main(["plan", circuit, *BASE]) == 0
    assert "subcircuit  qubits" in capsys.readouterr().out


@pytest.mark.slow
def test_wire_cuts_from_a_file(circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cuts = tmp_path / "cuts.json"
    cuts.write_text('{"wire_cuts": [{"qubit": 2, "after": 1}]}')
    assert main(["run", circuit, "--cuts", str(cuts), "--observable", "X0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["expectation_values"] == pytest.approx(
        [0], abs=1e-12
    )
    assert main(["plan", circuit, "--cuts", str(cuts), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [s["num_qubits"] for s in plan["subcircuits"]] == [3, 4]
    assert plan["num_wire_cuts"] == 1


@pytest.mark.slow
def test_plan_draws_and_shows_the_front(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    drawing = tmp_path / "cuts.txt"
    base = ["plan", circuit, "--max-qubits", "4", "--observable", "XXXXXX"]
    assert main([*base, "--draw", str(drawing), "--pareto", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    front = plan["pareto"]
    assert [p["width"] for p in front] == sorted({p["width"] for p in front}, reverse=True)
    costs = [p["predicted_seconds"] for p in front]
    assert costs == sorted(costs)
    assert costs[0] == plan["predicted_seconds"]
    assert "✂" in drawing.read_text()
    assert main([*base, "--pareto"]) == 0
    assert "predicted seconds  sampling overhead" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective", ["seconds", pytest.param("overhead", marks=pytest.mark.nightly)]
)
def test_saved_cuts_make_the_same_plan(
    objective: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    saved = str(tmp_path / "cuts.json")
    base = ["plan", "example:lattices", "--memory", "4G", "--threads", "1", "--json"]
    for observable in ("X" * 48, "Z7 Z36"):
        asked = [*base, "--observable", observable]
        how = ["--max-qubits", "14", "--objective", objective, "--save", saved]
        how += ["--search-seconds", "1"]
        assert main([*asked, *how]) == 0
        plan = json.loads(capsys.readouterr().out)
        if not plan["fits_memory"]:
            continue
        assert main([*asked, "--cuts", saved]) == 0
        again = json.loads(capsys.readouterr().out)
        for key in ("num_gate_cuts", "num_wire_cuts", "predicted_seconds", "subcircuits"):
            assert again[key] == plan[key]


BAD = {
    "no command": ([], "required"),
    "unknown command": (["fly"], "fly"),
    "no circuit": (["run"], "CIRCUIT"),
    "missing circuit": (["run", "nowhere.qasm"], "nowhere.qasm"),
    "unknown example": (["run", "example:nothing"], "lattices"),
    "dashes for a value": (["run", "{c}", "--memory=--"], "--memory: '--'"),
    "dashes for a file": (["run", "{c}", "-o--"], "--output: '--'"),
    "too few labels": (["run", "{c}", "--cut-labels", "AAB"], "3 labels"),
    "two ways to cut": (
        ["run", "{c}", "--cut-labels", "AAABBB", "--max-qubits", "3"],
        "not allowed",
    ),
    "no width": (["run", "{c}", "--max-qubits", "0"], "'0'"),
    "width is a word": (["plan", "{c}", "--max-qubits", "few"], "'few'"),
    "missing cuts": (["run", "{c}", "--cuts", "nowhere.json"], "nowhere.json"),
    "cuts are no JSON": (["run", "{c}", "--cuts", "{c}"], "expected JSON"),
    "bad observable": (["run", "{c}", "--observable", "Q7"], "Q7"),
    "qubit out of range": (["run", "{c}", "--observable", "Z6"], "Z6"),
    "long label": (["run", "{c}", "--observable", "ZZZZZZZ"], "ZZZZZZZ"),
    "infinite coefficient": (["run", "{c}", "--observable", "1e999 Z0"], "1e999"),
    "missing observables": (["run", "{c}", "--observables", "nowhere.json"], "nowhere.json"),
    "bad memory": (["run", "{c}", "--memory", "lots"], "'lots'"),
    "too little memory": (["run", "{c}", "--memory", "3"], "at least 1M"),
    "bad target error": (["run", "{c}", "--target-error", "half"], "half"),
    "bad dtype": (["run", "{c}", "--dtype", "double"], "double"),
    "bad precision": (["run", "{c}", "--precision", "half"], "half"),
    "short labels by their old name": (["run", "{c}", "--partition", "AAB"], "3 labels"),
    "labels by both names": (
        ["run", "{c}", "--cut-labels", "AAABBB", "--partition", "AAABBB"],
        "not allowed",
    ),
    "dtype by both names": (
        ["run", "{c}", "--dtype", "complex64", "--precision", "double"],
        "expected dtype alone",
    ),
    "old name, wrong backend": (
        ["run", "{c}", *OLD, "--shots", "9", "--backend", "generic:2"],
        "2 qubits",
    ),
    "bad seed": (["run", "{c}", "--seed", "-1"], "'-1'"),
    "bad threads": (["run", "{c}", "--threads", "0"], "'0'"),
    "bad device": (["run", "{c}", "--device", "tpu"], "tpu"),
    "output in no folder": (["run", "{c}", "-o", "/nowhere/out.h5"], "/nowhere/out.h5"),
    "output is no result": (["run", "{c}", "-o", "{c}"], "not a valid hpcq result"),
    "plan saved nowhere": (["plan", "{c}", "--save", "/nowhere/cuts.json"], "/nowhere/cuts.json"),
    "plan saved that no cuts say": (
        ["plan", "{c}", "--method", "mps", "--save", "{c}.json"],
        "save: the plan simulates parts by mps",
    ),
    "bad objective": (["plan", "{c}", "--max-qubits", "3", "--objective", "cost"], "cost"),
    "no time to search": (["plan", "{c}", "--max-qubits", "3", "--search-seconds", "0"], "'0'"),
    "endless search": (["plan", "{c}", "--max-qubits", "3", "--search-seconds", "inf"], "'inf'"),
    "objective of no search": (["plan", "{c}", "--objective", "overhead"], "without a search"),
    "reuse of no search": (
        ["run", "{c}", "--cut-labels", "AAABBB", "--reuse-qubits"],
        "without a search",
    ),
    "drawing over the cuts": (
        ["plan", "{c}", "--draw", "{c}.txt", "--save", "{c}.txt"],
        "is the file of --save",
    ),
    "front of nothing": (["plan", "{c}", "--pareto"], "expected --max-qubits too"),
    "drawing of no kind": (["plan", "{c}", "--draw", "cuts.pdf"], "cuts.pdf"),
    "drawing over the circuit": (["plan", "{c}", "--draw", "{c}"], "expected a name that ends in"),
    "drawing in no folder": (["plan", "{c}", "--draw", "/nowhere/c.txt"], "/nowhere/c.txt"),
    "show what is missing": (["show", "nowhere.h5"], "nowhere.h5"),
    "show what is no result": (["show", "{c}"], "not a valid hpcq result"),
    "plan saved over the circuit": (["plan", "{c}", "--save", "{c}"], "left as it is"),
    "empty output": (["run", "{c}", "-o", ""], "it is empty"),
    "empty observables": (["run", "{c}", "--observables", " "], "it is empty"),
    "empty label": (["run", "{c}", "--cut-labels", "A,,B,B,C,C"], "empty label"),
    "long output name": (["run", "{c}", "-o", "x" * 300 + ".h5"], "too long"),
    "output is a device": (["run", "{c}", "-o", "/dev/null"], "pipe or device"),
    "show a device": (["show", "/dev/zero"], "device"),
    "abbreviated option": (["run", "{c}", "--part", "AAABBB"], "--part"),
    "mistyped option": (
        ["run", "{c}", "--max-qubit", "4"],
        "unrecognized argument --max-qubit: did you mean --max-qubits? (see: hpcq run --help)",
    ),
    "mistyped option with its value": (
        ["plan", "{c}", "--sede=3"],
        "unrecognized argument --sede: did you mean --seed?",
    ),
    "mistyped option of one command": (["show", "{c}", "--jsn"], "did you mean --json?"),
    "option of nothing": (["run", "{c}", "--colour", "red"], "unrecognized arguments: --colour"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "named"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], named: str, circuit: str, capsys: pytest.CaptureFixture
) -> None:
    before = Path(circuit).read_bytes()
    assert main([argument.replace("{c}", circuit) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("hpcq: error: ")
    assert named in printed.err
    assert Path(circuit).read_bytes() == before


@pytest.mark.slow
def test_old_spellings_work_with_one_line_of_notice(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    new, old = str(tmp_path / "new.h5"), str(tmp_path / "old.h5")
    shots = ("--shots", "2000", "--json")
    errors = ("--target-error", "0.5", "--dtype", "complex64")
    assert main(["run", circuit, *BASE, *shots, *errors, "-o", new]) == 0
    wanted = capsys.readouterr()
    assert "note" not in wanted.err
    errors = ("--precision", "0.5", "--precision", "single")
    assert main(["run", circuit, *OLD, *shots, *errors, "-o", old]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["config"] == json.loads(wanted.out)["config"]
    assert (
        json.loads(printed.out)["expectation_values"]
        == json.loads(wanted.out)["expectation_values"]
    )
    (line,) = [line for line in printed.err.splitlines() if "note" in line]
    for name in ("--partition is now --cut-labels", "--dtype", "--target-error"):
        assert name in line
    assert main(["plan", circuit, *OLD, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["num_gate_cuts"] == 1
    assert printed.err.startswith("hpcq: note: --partition is now --cut-labels;")
    assert printed.err.count("\n") == 1
    assert main(["run", circuit, *BASE, *shots, *errors[:2], "--dtype=complex64", "-o", new]) == 0


@pytest.mark.mpi
def test_only_rank_0_gives_notice(circuit: str) -> None:
    done = hpcq("run", circuit, *OLD, "--json", ranks=2, seconds=60)
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "complete"
    assert done.stderr.count("hpcq: note: ") == 1


def test_arguments_of_plan_have_their_old_names_too() -> None:
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    circuit.cx(1, 2)
    common = {"memory": 1 << 30, "threads": 1}
    how = {"cut_labels": "AABB", "target_error": 0.1, "dtype": "complex64"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = hpcq_package.plan(circuit, "Z0", **how, **common)
    olds = {"partition": "AABB", "standard_error": 0.1, "precision": "single"}
    with pytest.warns(DeprecationWarning, match="hpcq.plan: ") as caught:
        old = hpcq_package.plan(circuit, "Z0", **olds, **common)
    assert {key: v for key, v in old.config.items() if key != "speeds"} == {
        key: v for key, v in new.config.items() if key != "speeds"
    }
    assert [str(one.message).split(";")[0] for one in caught] == [
        f"hpcq.plan: the argument {name} is now {now}" for name, now in zip(olds, how, strict=True)
    ]
    assert all(one.filename == __file__ for one in caught)
    for (name, value), (now, other) in zip(olds.items(), how.items(), strict=True):
        with pytest.raises(InputError, match=f"{name}, {now}: given together"):
            hpcq_package.plan(circuit, "Z0", **{name: value, now: other}, **common)


def test_no_gpu_is_said_in_one_line(circuit: str, capsys: pytest.CaptureFixture) -> None:
    from hpcq.engines.aer import probe_gpu

    if probe_gpu()[0]:
        pytest.skip("a GPU answers here")
    assert main(["run", circuit, "--device", "gpu"]) == 2
    assert "no GPU works" in capsys.readouterr().err


def test_a_complete_output_is_shown_where_nothing_could_be_simulated(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The device is chosen before the search for cuts, but not if there is nothing to simulate."""
    output = tmp_path / "out.h5"
    assert main(["run", circuit, "-o", str(output)]) == 0
    capsys.readouterr()
    assert main(["run", circuit, "-o", str(output), "--device", "gpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "complete"


@pytest.mark.slow
def test_a_job_that_cannot_fit_is_refused_with_what_would(tmp_path: Path) -> None:
    wide = tmp_path / "wide.qasm"
    wide.write_text(
        'OPENQASM 2.0; include "qelib1.inc"; qreg q[40]; h q;'
        + "".join(f"cx q[{i}],q[{i + 1}];" for i in range(39))
    )
    done = hpcq_here("plan", wide, "--memory", "1G", "--method", "statevector")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "16.0 TiB" in line
    assert "or --method auto" in line
    assert hpcq_here("plan", wide, "--memory", "1G").returncode == 0
    done = hpcq_here("plan", wide, "--memory", "1G", "--cut-labels", "A" * 38 + "BB")
    assert done.returncode == 2
    width = re.search(r"--max-qubits (\d+) would work", done.stderr)
    assert width, done.stderr
    assert hpcq_here("plan", wide, "--memory", "1G", "--max-qubits", width[1]).returncode == 0


@pytest.mark.slow
def test_a_job_of_a_thousand_years_is_not_started(tmp_path: Path) -> None:
    knot = tmp_path / "knot.qasm"
    pairs = [(a, b) for a in range(11) for b in range(a)]
    knot.write_text(
        'OPENQASM 2.0; include "qelib1.inc"; qreg q[11]; h q;'
        + "".join(f"cx q[{a}],q[{b}];" for a, b in pairs)
    )
    command = (knot, "--cut-labels", "ABCDEFGHIJK", "--memory", "8G")
    done = hpcq_here("run", *command)
    assert done.returncode == 2
    assert "years" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    shown = hpcq_here("plan", *command)
    assert shown.returncode == 0
    assert "warning: predicted to take" in shown.stdout


@pytest.mark.slow
def test_a_damaged_result_is_reported_and_left_alone(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "out.h5"
    assert main(["run", circuit, *BASE, "-o", str(output)]) == 0
    damaged = output.read_bytes()[:3000]
    output.write_bytes(damaged)
    capsys.readouterr()
    for command in (["show", str(output)], ["run", circuit, *BASE, "-o", str(output)]):
        assert main(command) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert output.read_bytes() == damaged
    assert [path.name for path in tmp_path.glob(".*")] == []


MANY_KINDS = (
    *("--observable", "Z0 Z2", "--observable", "0.5 X3 Z5 - Y0 Y1 X2 + 2 I"),
    *("--observable", "010011", "--observable", "label:Z0+Irl - 0.5 label:IIII1X"),
)
"""Options that ask for a term, a sum, an outcome and labels."""


def ways_to_cut(folder: Path) -> tuple[tuple[str, ...], ...]:
    """Return the options of three ways to cut, of which one takes a file in a folder."""
    cuts = folder / "cuts.json"
    cuts.write_text(
        '{"gate_cuts": [{"gate": 2}, {"gate": 4}], "wire_cuts": [{"qubit": 1, "after": 1}]}'
    )
    return ("--cuts", str(cuts)), BASE[:2], ("--max-qubits", "3")


@pytest.mark.slow
def test_the_file_alone_gives_the_values_again(
    circuit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe of the README, which does not use hpcq."""
    monkeypatch.setattr(
        "hpcq.planning.candidates._SMALL_SECONDS", 0.0
    )  # light cones of their own for terms
    readme = (ROOT / "README.md").read_text()
    (recipe,) = re.findall(r"```python\n(def recompute.*?)```", readme, re.DOTALL)
    scope: dict = {}
    exec(recipe, scope)
    for number, way in enumerate(ways_to_cut(tmp_path)):
        output = tmp_path / f"out{number}.h5"
        assert main(["run", circuit, *way, *MANY_KINDS, "-o", str(output)]) == 0
        with h5py.File(output) as file:
            assert file.attrs["status"] == "complete"
            for number, value in enumerate(file["results/expectation_values"][()]):
                assert scope["recompute"](file, number) == pytest.approx(value, abs=1e-12)


@pytest.mark.slow
def test_the_counts_alone_give_the_values_again(
    circuit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipes of the README, which do not use hpcq, on a file that was refined."""
    monkeypatch.setattr(
        "hpcq.planning.candidates._SMALL_SECONDS", 0.0
    )  # light cones of their own for terms
    readme = (ROOT / "README.md").read_text()
    scope: dict = {}
    for name in ("recompute", "tensor_from_counts"):
        (recipe,) = re.findall(rf"```python\n(def {name}.*?)```", readme, re.DOTALL)
        exec(recipe, scope)
    for place, way in enumerate(ways_to_cut(tmp_path)):
        output = tmp_path / f"{place}.h5"
        for _ in range(2):
            assert (
                main(["run", circuit, *way, *MANY_KINDS, "--shots", "3000", "-o", str(output)]) == 0
            )
        with h5py.File(output) as file:
            for k, piece in enumerate(file["subcircuits"].values()):
                if piece.attrs["source"] >= 0:
                    tensor = scope["tensor_from_counts"](file, k)
                    np.testing.assert_allclose(tensor, piece["tensor"][()], atol=1e-9)
            for number, value in enumerate(file["results/expectation_values"][()]):
                assert scope["recompute"](file, number) == pytest.approx(value, abs=1e-9)


def test_import_hpcq_loads_neither_mpi_nor_a_simulator() -> None:
    code = (
        "import hpcq, sys; "
        "print([m for m in ('mpi4py', 'qiskit_aer', 'qiskit', 'numpy') if m in sys.modules])"
    )
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "cure"), [("qiskit_aer", "hpcq[cpu]"), ("mpi4py", "hpcq[mpich]")]
)
def test_a_missing_dependency_is_one_line_with_the_cure(
    module: str, cure: str, circuit: str
) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; "
    code += "from hpcq.cli.main import main; sys.exit(main())"
    launched = {"PMI_SIZE": "1", "PMI_RANK": "0"} if module == "mpi4py" else {}
    done = run(sys.executable, "-c", code, "run", circuit, *BASE, **launched)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert cure in line


@pytest.mark.slow
def test_doctor_checks_known_answers(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcq.doctor.srun_mpi.command_output", lambda *_, **__: "")
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "gate cut of a GHZ state" in printed
    assert "FAIL" not in printed


@pytest.mark.slow
@pytest.mark.parametrize("sink", ["| true", "> /dev/full"])
def test_a_result_is_saved_whatever_becomes_of_the_printing(
    sink: str, circuit: str, tmp_path: Path
) -> None:
    output = tmp_path / "out.h5"
    command = f"{sys.executable} -m hpcq run {circuit} --cut-labels AAABBB -o {output} {sink}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert main(["show", str(output)]) == 0


@pytest.mark.slow
def test_a_pipe_is_refused_and_not_waited_for(circuit: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.h5"
    os.mkfifo(pipe)
    for command in (["run", circuit, "-o", str(pipe)], ["show", str(pipe)]):
        done = hpcq(*command, seconds=20)
        assert done.returncode == 2
        assert "pipe" in done.stderr


def test_an_observable_may_start_with_a_minus(circuit: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["run", circuit, *BASE, "--observable", "-Z0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["observables"] == ["-Z0"]
