"""The table that decides the state of a job, over all combinations of facts."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from hpcq.jobs.job_state import RULES, Execution, Exit, Facts, Observations, Output, job_status
from hpcq.jobs.slurm_backend import Task

FILES: dict[Output, dict[str, Any]] = {
    Output.NOTHING: {},
    Output.DAMAGED: {"damage": "damaged"},
    Output.OF_LATER_JOB: {"later": "9"},
    Output.EARLIER_RESULT: {"state": "DONE", "saved": 1.0, "old": True},
    Output.EARLIER_PROGRESS: {"state": "STOPPED", "saved": 1.0, "old": True},
    Output.RESULT: {"state": "DONE", "saved": 3.0, "old": False},
    Output.PROGRESS: {"state": "STOPPED", "members": [{}], "old": False},
    Output.OF_SCRIPT: {"is_script": True},
}
TASKS: dict[Execution, tuple[Task, ...]] = {
    Execution.RUNNING: (Task("7_0", "PENDING"), Task("7_1", "RUNNING")),
    Execution.REQUEUED: (Task("7", "PENDING", restarts=1),),
    Execution.WAITING: (Task("7_0", "PENDING", "Resources"), Task("7_1", "CANCELLED")),
    Execution.CANCELED: (Task("7_0", "CANCELLED"), Task("7_1", "TIMEOUT")),
    Execution.CUT_SHORT: (Task("7_0", "FAILED"), Task("7_1", "NODE_FAIL")),
    Execution.ENDED: (Task("7_0", "FAILED"), Task("7_1", "COMPLETED")),
}
CODES: dict[Exit, list[int | None]] = {
    Exit.LOGGED_ERROR: [],
    Exit.FORGOTTEN: [],
    Exit.FAILED: [0, None, 75, 2],
    Exit.STOPPED: [0, None, 75],
    Exit.UNKNOWN: [None, 0],
    Exit.SUCCESS: [0, 0],
}

ANSWERS = """
-aaaaa -bbbbb -ccccc -ddddd -efeee -ghggg
-aaaaa -bbbbb -ccccc -iiiii -jkjjj -lmlll
-aaaaa -bbbbb -ccccc -nnnnn -ofooo -ohopp
aaaaaa bbbbbb cccccc dddddd qefeee rshggs
-aaaaa -bbbbb -ccccc -ttttt -uuuuu -vhvvv
-sssss -sssss -sssss -sssss -sssss -sssss
-aaaaa -bbbbb -wwwww -ttttt -uuuuu -vhvvv
aaaaaa bbbbbb cccccc xxxxxx qyfzyy rshzAs
"""
"""The answer to each combination, by a letter: a line for each output, a word for each execution
and a letter for each exit, in the order of their definitions; ``-`` where the logs are not read."""

MEANINGS = {
    "a": "RUNNING",
    "b": "STOPPED (resumes by itself, waits for its turn)",
    "c": "QUEUED (Resources)",
    "d": "CANCELED (nothing was saved)",
    "e": "ERROR (node fail, nothing was saved)",
    "f": "ERROR (exit code 2, node fail, boom)",
    "g": "ERROR (nothing was saved)",
    "h": "ERROR (exit code 2, boom)",
    "i": "CANCELED (damaged)",
    "j": "ERROR (node fail, damaged)",
    "k": "ERROR (exit code 2, node fail, damaged)",
    "l": "ERROR (damaged)",
    "m": "ERROR (exit code 2, damaged)",
    "n": "CANCELED (job 9 has written its output since)",
    "o": "STOPPED (job 9 has written its output since)",
    "p": "DONE (job 9 has written its output since)",
    "q": "ERROR (node fail, boom)",
    "r": "ERROR (boom)",
    "s": "DONE",
    "t": "CANCELED (finished work is saved)",
    "u": "STOPPED (node fail; finished work is saved)",
    "v": "STOPPED (finished work is saved)",
    "w": "STOPPED (resumes by itself, waits for Resources)",
    "x": "CANCELED (what is saved depends on its script)",
    "y": "ERROR (node fail, what is saved depends on its script)",
    "z": "STOPPED (what is saved depends on its script)",
    "A": "ERROR (what is saved depends on its script)",
}


def observations(facts: Facts) -> Observations:
    """Return observations with these facts; a line names an error if a code does."""
    return Observations(
        FILES[facts.output],
        TASKS[facts.execution],
        CODES[facts.exit],
        is_running=facts.execution is Execution.RUNNING,
        is_canceled=False,
        error_line=lambda: "boom" if facts.exit in Exit.FAILED | Exit.LOGGED_ERROR else "",
    )


ALL_FACTS = [Facts(*each) for each in product(Output, Execution, Exit)]


def test_every_job_has_a_state_and_every_rule_a_job() -> None:
    first = [next(n for n, rule in enumerate(RULES) if facts in rule[2]) for facts in ALL_FACTS]
    assert set(first) == set(range(len(RULES)))


def test_a_rule_is_about_all_of_its_facts_and_no_others() -> None:
    rule = Facts(Output.RESULT | Output.PROGRESS, exit=~Exit.FAILED)
    held = [facts for facts in ALL_FACTS if facts in rule]
    assert len(held) == 2 * 6 * 5
    assert all(facts.output is not Output.NOTHING for facts in held)
    assert all(facts.exit is not Exit.FAILED for facts in held)


def test_answers_to_all_combinations() -> None:
    letters = "".join(ANSWERS.split())
    assert len(letters) == len(ALL_FACTS)
    for facts, letter in zip(ALL_FACTS, letters, strict=True):
        seen = observations(facts)
        if letter == "-":
            assert facts.exit is Exit.LOGGED_ERROR
            assert seen.facts.exit is Exit.FORGOTTEN
            continue
        assert seen.facts == facts
        status = job_status(seen)
        assert str(status) == MEANINGS[letter], facts
        is_of_job = facts.output is not Output.EARLIER_RESULT or status.state == "DONE"
        assert status.file == (FILES[facts.output] if is_of_job else {})
        assert status.tasks == TASKS[facts.execution]


@pytest.mark.parametrize("execution", [Execution.WAITING, Execution.REQUEUED, Execution.ENDED])
def test_a_job_that_hpcq_canceled_is_canceled_whatever_waits(execution: Execution) -> None:
    seen = Observations({}, TASKS[execution], [None], False, True, str)
    assert str(job_status(seen)) == "CANCELED (nothing was saved)"
