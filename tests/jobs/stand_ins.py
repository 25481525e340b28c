"""Stand-ins for SLURM's commands, which answer as SLURM 22.05 does."""

from __future__ import annotations

import os
import shlex

from hpcq.jobs.slurm_backend import FIELDS


def squeue(
    *,
    job: str = "7",
    task: str = "N/A",
    uid: object = os.geteuid(),
    state: str = "RUNNING",
    code: str = "0",
    reason: str = "None",
    name: str = "out",
) -> str:
    """Return the text of a script that answers what hpcq asks squeue of one job.

    Args:
        job: Its number; the shell expands it, as it does the state.
        task: Of an array.
        uid: Number of its owner.
        state: In SLURM's words.
        code: Its exit code.
        reason: Why it waits.
        name: What it is called; anything.
    """
    status = str(int(code) << 8)
    values = [job, task, str(uid), state, status, "0", "c1", reason]
    form = "".join(f"%-{width}s" for width in FIELDS.values())
    row = " ".join(f'"{value}"' for value in values)
    called = f"printf '%s\\n' {shlex.quote(name)}"
    return f"case \"$*\" in *--format=%j) {called};; *) printf '{form}\\n' {row};; esac"
