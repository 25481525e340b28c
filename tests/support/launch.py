"""Start commands under the MPI launcher that is installed beside this Python, or on the path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

from hpcq.cli.main import main

ROOT = Path(__file__).parents[2]
SECONDS = 180
"""Time limit of a command: long, as other work may keep the cores busy."""


@cache
def launcher() -> str | None:
    """Path of ``mpirun``, the one of this environment first."""
    beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return shutil.which("mpirun", path=beside)


@cache
def is_open_mpi() -> bool:
    """Whether the launcher is Open MPI's, which wants to be asked nicely."""
    version = subprocess.run([launcher() or "false", "--version"], capture_output=True, text=True)
    return "Open MPI" in version.stdout


def environment(**more: str) -> dict[str, str]:
    """The environment of this process, without traces of a launcher."""
    traces = ("OMPI_", "PMI", "PMIX", "SLURM_", "HYDI", "MPI_LOCAL")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(traces)}
    kept["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", "")))
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    kept.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    kept.update(OMPI_MCA_btl="^ofi")
    return {**kept, **more}


def run(
    *command: str | Path, ranks: int = 0, seconds: float = SECONDS, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command, on several ranks if asked, and return what it printed."""
    prefix: list[str] = []
    if ranks:
        assert launcher(), "mpirun is not installed"
        prefix = [str(launcher()), "-n", str(ranks)]
        if is_open_mpi():
            prefix += ["--oversubscribe", "--bind-to", "none"]
    return subprocess.run(
        [*prefix, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=seconds,
        env=environment(**more),
        check=False,
    )


def hpcq(*arguments: str | Path, **how: object) -> subprocess.CompletedProcess[str]:
    """Run the command ``hpcq`` in a process of its own."""
    return run(sys.executable, "-m", "hpcq", *arguments, **how)  # type: ignore[arg-type]


def hpcq_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command ``hpcq`` in this process, which takes a tenth of the time."""
    words = list(map(str, arguments))
    with redirect_stdout(StringIO()) as printed, redirect_stderr(StringIO()) as errors:
        code = main(words)
    return subprocess.CompletedProcess(words, code, printed.getvalue(), errors.getvalue())
