"""Jobs on the cluster of tests/slurm/cluster; skipped where it is not up."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpcq.core.errors import HpcqError
from hpcq.runs.status import read_run_status
from tests.kill_and_resume import value_of, write_circuit
from tests.support.launch import ROOT, environment, hpcq

_SCRIPT = Path(__file__).parent / "cluster"
_NAME = "hpcq-tests"
TEMPLATES = ROOT / "jobscripts"
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL")
OFTEN = ("--checkpoint-seconds", "0.1")
"""Options of a run that saves its first finished tasks at once, when most of it is left to do."""


def done_tasks(output: Path) -> int:
    """Tasks that are saved."""
    try:
        return sum(stage["done"] for stage in read_run_status(output).get("stages", []))
    except HpcqError:
        return 0


class Cluster:
    """SLURM's commands, for jobs of the tests.

    Args:
        conf: Its configuration file.
    """

    def __init__(self, conf: Path) -> None:
        self._conf = conf
        self.jobs: list[str] = []

    def environment(self, **more: str) -> dict[str, str]:
        """The environment that jobs are submitted in."""
        ours = {"SLURM_CONF": str(self._conf), "HPCQ_CALIBRATION": "none", "HPCQ_SITE": "none"}
        return {**environment(**ours), **more}

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        seconds: float = 60,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in that environment, and return what it printed."""
        return subprocess.run(
            [*map(str, command)],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self.environment(**(env or {})),
            check=False,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )

    def submit(
        self,
        script: str | Path,
        *arguments: str | Path,
        sbatch_options: Sequence[str] = (),
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> str:
        """Submit a job script, one of the templates by its name, and return the job's number."""
        path = TEMPLATES / f"{script}.sbatch" if isinstance(script, str) else script
        command = ("sbatch", "--parsable", *sbatch_options, path, *arguments)
        done = self.run(*command, cwd=cwd, env=env, user=user)
        assert done.returncode == 0, done.stderr
        job = done.stdout.strip()
        self.jobs.append(job)
        return job

    def info(self, job: str) -> dict[str, str]:
        """Return what SLURM knows of a job."""
        said = self.run("scontrol", "show", "job", job).stdout
        return dict(re.findall(r"(\w+(?:/\w+)?)=(\S*)", said))

    def states(self, job: str) -> list[str]:
        """Return the states of a job, or of all jobs of an array."""
        said = self.run("scontrol", "show", "job", job).stdout
        return re.findall(r"JobState=(\w+)", said)

    def wait(self, job: str, *states: str, seconds: float = 90) -> str:
        """Wait until a job, or all jobs of an array, are over, or in one of some states."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.states(job)
            if found and all(state in (states or OVER) for state in found):
                return found[0]
            time.sleep(0.2)
        raise AssertionError(f"job {job} is {self.states(job)} after {seconds} s\n{self.log(job)}")

    def log(self, job: str) -> str:
        """Return what a job, or all jobs of an array, have printed."""
        said = self.run("scontrol", "show", "job", job).stdout
        files = dict.fromkeys(re.findall(r"StdOut=(.*)", said))
        paths = [Path(file) for file in files]
        return "".join(file.read_text() for file in paths if file.exists())

    def finish(self, job: str, seconds: float = 90) -> str:
        """Wait until a job has succeeded, and return its log."""
        state = self.wait(job, seconds=seconds)
        said = self.log(job)
        assert state == "COMPLETED", f"{state}: {self.info(job)}\n{said}"
        assert set(self.states(job)) == {"COMPLETED"}, said
        return said

    def until(self, true: Callable[[], object], seconds: float = 60, job: str = "") -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"not so after {seconds} s\n{job and self.log(job)}"
            time.sleep(0.1)

    def until_saved(self, output: Path, job: str) -> None:
        """Wait until a job has saved finished tasks, and has others to do."""
        self.until(lambda: done_tasks(output) > 0 or self.states(job)[0] in OVER, job=job)
        state = self.states(job)[0]
        assert state not in OVER, f"{state} with {done_tasks(output)} tasks\n{self.log(job)}"

    def cancel(self, *jobs: str) -> None:
        """Cancel jobs; those that are over are none to care about."""
        self.run("scancel", *jobs)

    def heal(self) -> None:
        """Start what daemons have been lost, and wait until all nodes are well."""
        done = self.run(_SCRIPT, "up", seconds=60)
        assert done.returncode == 0, done.stdout + done.stderr


def _conf() -> tuple[Path, str]:
    """Return the cluster's configuration, and why it cannot be used."""
    if shutil.which("sinfo") is None:
        return Path(), "SLURM is not installed; tests/slurm/cluster up"
    script = subprocess.run([_SCRIPT, "conf"], capture_output=True, text=True, check=True)
    conf = Path(script.stdout.strip())
    if not conf.exists():
        return conf, "the cluster of the tests is not up; tests/slurm/cluster up"
    how = {**os.environ, "SLURM_CONF": str(conf)}
    try:
        said = subprocess.run(
            ["scontrol", "show", "config"], capture_output=True, text=True, env=how, timeout=20
        )
    except subprocess.TimeoutExpired:
        return conf, "SLURM does not answer; tests/slurm/cluster up"
    if not re.search(rf"ClusterName\s*= {_NAME}\b", said.stdout):
        return conf, "the cluster of the tests is not up; tests/slurm/cluster up"
    return conf, ""


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    conf, reason = _conf()
    if reason:
        pytest.skip(reason)
    with (conf.parent / "lock").open("w") as lock:  # nodes are killed: not in another's tests
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = Cluster(conf)
        found.heal()
        yield found
        if found.jobs:
            found.cancel(*found.jobs)


@pytest.fixture
def cluster(_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster; a test's jobs do not outlive it."""
    before = len(_cluster.jobs)
    yield _cluster
    if _cluster.jobs[before:]:
        _cluster.cancel(*_cluster.jobs[before:])


class Commands:
    """Commands of hpcq, called in one folder by one user.

    Args:
        cluster: Where the jobs go.
        folder: Where the commands are called.
        user: Whose they are; this process's by default.
        program: What hpcq is started with.
        env: More of the environment.
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        user: str | None = None,
        program: Sequence[str] = (sys.executable, "-m", "hpcq"),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._cluster = cluster
        self._folder = folder
        self._user = user
        self._program = program
        self._env = dict(env or {"XDG_STATE_HOME": str(folder / "state")})

    def __call__(self, *words: str | Path, code: int = 0) -> Any:
        """Return what a command printed; a failing one has one line to say."""
        done = self._cluster.run(
            *self._program, *words, cwd=self._folder, env=self._env, user=self._user
        )
        assert done.returncode == code, done.stderr + done.stdout
        if code:
            assert done.stderr.count("\n") == 1, done.stderr
            return done.stderr
        if words[0] == "submit" and "--json" in words:
            self._cluster.jobs.append(json.loads(done.stdout)["job"])
        return json.loads(done.stdout) if "--json" in words else done.stdout

    def submit(self, *words: str | Path) -> str:
        """Submit a job and return its number."""
        job: str = self("submit", *words, "--json")["job"]
        return job

    def until(self, job: str, *states: str, seconds: float = 90) -> dict[str, Any]:
        """Wait until a job is in one of some states, and return how it stands."""
        end = time.monotonic() + seconds
        while (stands := self("status", job, "--json"))["state"] not in states:
            assert time.monotonic() < end, f"{stands} after {seconds} s\n{self('logs', job)}"
        return stands  # type: ignore[no-any-return]


@pytest.fixture
def command(cluster: Cluster, tmp_path: Path) -> Commands:
    """Runs hpcq in the test's folder."""
    return Commands(cluster, tmp_path)


@pytest.fixture
def circuit(tmp_path: Path) -> Path:
    """A circuit that takes no time; its answers are known."""
    path = tmp_path / "ghz.qasm"
    lines = "".join(f"cx q[{q}],q[{q + 1}];" for q in range(5))
    path.write_text(f'OPENQASM 2.0; include "qelib1.inc"; qreg q[6]; h q[0]; {lines}')
    return path


@pytest.fixture(scope="session")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], tuple[str, ...]]:
    """Arguments of a run of 272 tasks that takes a while, and its values, bit for bit."""
    folder = tmp_path_factory.mktemp("long")
    arguments = write_circuit(folder, layers=40)
    output = folder / "reference.h5"
    done = hpcq("run", *arguments, "-o", output, ranks=2, HPCQ_SITE="none")
    assert done.returncode == 0, done.stderr
    return arguments, value_of(output)
