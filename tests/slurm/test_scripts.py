"""Scripts that jobs run: stopped by their walltime, put back, and finished by themselves."""

from __future__ import annotations

import json
from pathlib import Path

from tests.slurm.conftest import Commands

SCRIPT = """
import json, sys, time
from pathlib import Path

import hpcq
from helper import circuit, STEPS

state = Path(sys.argv[1])
steps = json.loads(state.read_text()) if state.exists() else []
print("begins at", len(steps), flush=True)
plan = hpcq.plan(circuit(), "Z0 Z3", cut_labels="AABB", threads=1, memory=1 << 28)
program = plan.compile()
try:
    while len(steps) < STEPS:
        rows = [[0.01 * len(steps) + k] for k in range(3)]
        result = hpcq.run(plan, parameter_values=rows, device="cpu")
        values = program.values(rows)
        assert abs(values - result.expectation_values).max() < 1e-10
        time.sleep(0.5)
        steps.append([values[0, 0], result.provenance["ranks"]])
except hpcq.StoppedError as error:
    print("told:", error, flush=True)
    raise
finally:
    state.write_text(json.dumps(steps))
"""

HELPER = """
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

STEPS = 120

def circuit():
    made = QuantumCircuit(4)
    made.ry(Parameter("a"), 0)
    for qubit in range(3):
        made.cx(qubit, qubit + 1)
    return made
"""


def submit(command: Commands, *words: str | Path) -> str:
    """Submit a job, and return its number; what follows a script is for the script."""
    job: str = command("submit", "--json", *words)["job"]
    return job


def test_a_script_is_stopped_by_its_walltime_and_finishes_by_itself(
    command: Commands, tmp_path: Path
) -> None:
    script, state = tmp_path / "loop.py", tmp_path / "state.json"
    script.write_text(SCRIPT)
    (tmp_path / "helper.py").write_text(HELPER)
    size = ("--nodes", "2", "--ranks-per-node", "1", "--time", "1", "--until-done")
    job = submit(command, *size, "--", "exec", script, state)
    script.write_text("raise SystemExit('not what was submitted')")
    command.until(job, "DONE", seconds=400)
    log = command("logs", job)
    assert "told: stopped, because the end of the allocation is near" in log
    assert log.count("begins at") > 1
    assert "begins at 0\n" in log
    steps = json.loads(state.read_text())
    assert len(steps) == 120
    assert {ranks for _, ranks in steps} == {2}


def test_what_ends_a_script_is_the_state_of_its_job(command: Commands, tmp_path: Path) -> None:
    small = ("--nodes", "1", "--ranks-per-node", "2", "--time", "5", "--", "exec")
    script = tmp_path / "end.py"
    script.write_text("import sys\nif sys.argv[1:]: raise ValueError('boom')\nprint('well')\n")
    job = submit(command, *small, script)
    command.until(job, "DONE")
    assert "well" in command("logs", job)
    assert "it runs a script" in command("result", job, code=1)
    job = submit(command, *small, script, "fail")
    told = command.until(job, "ERROR")["reason"]
    assert "exit code 1" in told
    assert "ValueError: boom" in command("logs", job)
    script.write_text("1 +")
    assert "end.py', line 1: invalid syntax, expected Python" in command(
        "submit", *small, script, code=2
    )
