"""Scripts in this process; tests/mpi/test_exec.py has those of several ranks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.launch import hpcq_here

WHAT_A_SCRIPT_SEES = """
import os, sys
from dataclasses import dataclass
from pickle import dumps, loads

@dataclass
class Point:
    x: int

print(__name__, __file__, os.path.basename(sys.argv[0]), sys.argv[1:], sys.path[0])
print(__doc__, __spec__, loads(dumps(Point(3))), sys.modules["__main__"].Point is Point)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for scripts; what they change in this process is undone."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    return tmp_path


def run(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(text)
    return hpcq_here("exec", script, *arguments)


def test_a_script_sees_what_python_shows_it(folder: Path) -> None:
    arguments = ("--help", "--observable", "-Z0", "--", "-o", "")
    done = run(folder, WHAT_A_SCRIPT_SEES, *arguments)
    by_python = subprocess.run(
        [sys.executable, folder / "script.py", *arguments], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, by_python.stdout), done.stderr


def test_pools_are_waited_for_by_their_tasks(folder: Path) -> None:
    text = """
import time
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
pool.submit(lambda: (time.sleep(0.2), print("done")))
"""
    with ThreadPoolExecutor(1) as pool:  # an idle one, which the script does not know of
        pool.submit(int).result()
        done = run(folder, text)
        assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
        assert pool.submit(int).result() == 0


@pytest.mark.parametrize(
    ("end", "code", "printed"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("sys.exit(256 + 7)", 7, ""),
        ("sys.exit(1 << 64)", 255, ""),
        ("sys.exit('no more')", 1, "no more\n"),
        ("sys.exit(type('E', (), {'__str__': lambda _: 1 / 0})())", 1, ">\n"),
        ("raise StoppedError('stopped, as\\nasked')", 75, "hpcq: error: stopped, as asked\n"),
        ("raise ValueError('why') from StoppedError('stop')", 75, "hpcq: error: stop\n"),
        (
            "try:\n    raise StoppedError('stop')\nexcept StoppedError:\n"
            "    raise InputError('engine') from None",
            *(75, "hpcq: error: stop\n"),
        ),
        ("error = ValueError('itself'); raise error from error", 1, "ValueError: itself\n"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt\n"),
        ("sys.excepthook = lambda *_: print('hook', file=sys.stderr); 1 / 0", 1, "hook\n"),
        ("sys.excepthook = lambda *_: sys.exit(3); 1 / 0", 3, ""),
    ],
)
def test_exit_codes(folder: Path, end: str, code: int, printed: str) -> None:
    hook = sys.excepthook
    done = run(
        folder, f"import sys\nfrom hpcq.core.errors import InputError, StoppedError\n{end}\n"
    )
    sys.excepthook = hook
    assert done.returncode == code
    assert done.stderr.endswith(printed)
    assert bool(done.stderr) == bool(printed)


@pytest.mark.parametrize("text", ["def f():\n    1 / 0\n\nf()\n", "1 +* 2\n"])
def test_tracebacks_are_those_of_python(folder: Path, text: str) -> None:
    done = run(folder, text)
    by_python = subprocess.run(
        [sys.executable, folder / "script.py"], capture_output=True, text=True
    )
    assert done.returncode == by_python.returncode == 1
    assert done.stderr == by_python.stderr


def test_a_script_that_cannot_be_read_is_one_line(folder: Path) -> None:
    missing = hpcq_here("exec", folder / "missing.py")
    assert missing.returncode == 2
    assert "missing.py': No such file or directory, expected a Python script" in missing.stderr
    a_folder = hpcq_here("exec", folder)
    assert a_folder.returncode == 2
    assert "is a folder, expected a Python script" in a_folder.stderr


def test_threads_are_waited_for_within_the_session(folder: Path) -> None:
    done = run(
        folder,
        "import threading, time\nfrom hpcq.runs.session import current_session\n"
        "def work():\n    time.sleep(0.1)\n    print(current_session().size)\n"
        "threading.Thread(target=work).start()\n",
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.fixture
def default_handler(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """Return a signal that has its default handler: under nohup, SIGHUP would be ignored."""
    number = signal.Signals[request.param]
    before = signal.signal(number, signal.SIG_DFL)
    yield number
    signal.signal(number, before)


@pytest.mark.parametrize("default_handler", ["SIGUSR1", "SIGTERM", "SIGHUP"], indirect=True)
def test_signals_raise_an_exception_that_a_script_may_catch(
    folder: Path, default_handler: signal.Signals
) -> None:
    name = default_handler.name
    done = run(
        folder,
        "import os, signal, time\nfrom hpcq import StoppedError\n"
        f"def stop():\n    os.kill(os.getpid(), signal.{name})\n    time.sleep(5)\n"
        "try:\n    stop()\nexcept StoppedError as error:\n    print(error)\n"
        "stop()\n",
    )
    assert (done.returncode, done.stdout) == (75, f"stopped, because {name} was received\n")
    assert done.stderr == f"hpcq: error: {done.stdout}"
    assert signal.getsignal(default_handler) is signal.SIG_DFL
    assert os._exit.__module__ == "posix"


def test_processes_that_a_script_forks_end_as_any_other_does(folder: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    done = run(
        folder,
        "import os, signal, sys, time\n"
        "def code(of):\n    return os.waitstatus_to_exitcode(os.waitpid(of, 0)[1])\n"
        "if not (first := os.fork()):\n    sys.exit(9)\n"
        "if not (second := os.fork()):\n    signal.raise_signal(signal.SIGTERM)\n"
        "print(code(first), code(second))\n",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "9 -15\n", "")
    assert signal.getsignal(signal.SIGTERM) is handler
