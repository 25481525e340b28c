"""Compare hpcq's choice of a method with each of its methods alone, and with Aer's own choice.

    python benchmarks/routing.py [--set work|second] [--only PATTERN ...] [--limit 20]
                                 [--methods auto cut ...] [--json OUT.json] [--again METHOD ...]

Seconds are CPU time in a warm process: imports and the making of the circuit don't count. With
``--json`` you can interrupt it: the same command resumes, and ``--again auto`` measures one method
anew. The methods are ``auto`` (hpcq without options), hpcq's methods by name, and ``aer`` (Aer's
``automatic``).
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from report import machine
from routing_circuits import SETS, Entry
from routing_report import SINGLE, Case, head, line, summary

from hpcq.core.version import PACKAGES, versions

METHODS = ("auto", *SINGLE, "aer")

_WORKER = Path(__file__).with_name("routing_worker.py")
_START_SECONDS = 120.0
"""Seconds that a process gets to import everything, on a busy machine."""

_PATIENCE = 6.0
"""Wall time after which a process is killed, in multiples of its limit of CPU time: it may wait for
a core, or for something that never comes."""

_MAKING_SECONDS = 10.0
"""CPU time on top of the limit after which a process and its children are killed: that of making a
circuit. The process itself is held to the limit by the system, but its children are not."""

_POLL_SECONDS = 0.5
"""Time between two looks at the CPU time of a process and its children."""


class Worker:
    """A process that answers requests, started when it is first needed.

    Attributes:
        memory: Bytes that hpcq and Aer may use.
    """

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._process: subprocess.Popen[str] | None = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, or the record of a process that had to be killed."""
        process = self._process or self._start()
        assert process.stdin is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        reply = self._reply(
            _PATIENCE * request["limit"] + _MAKING_SECONDS, request["limit"] + _MAKING_SECONDS
        )
        if reply is not None and reply["seconds"] <= request["limit"]:
            return reply
        if reply is not None:
            return reply | {"status": "timeout"}
        code = self.stop()
        if code in (-signal.SIGXCPU, None):
            return {"status": "timeout", "seconds": request["limit"], "reason": ""}
        return {"status": "died", "seconds": request["limit"], "reason": f"exit code {code}"}

    def stop(self) -> int | None:
        """End the process and all that it started; return its code, None if it was still alive."""
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            code = process.wait(0.5)
        except subprocess.TimeoutExpired:
            code = None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its children too; it leads a group
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        return code

    def _start(self) -> subprocess.Popen[str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER), str(self.memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,
        )
        if self._reply(_START_SECONDS, _START_SECONDS) is None:
            code = self.stop()
            raise SystemExit(f"{_WORKER.name} does not start (exit code {code}); run it by hand")
        return self._process

    def _reply(self, patience: float, cpu_limit: float) -> dict[str, Any] | None:
        """Wait for a line; None if the process ends, or takes too much of either time."""
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + patience
        cpu_deadline = group_cpu_seconds(self._process.pid) + cpu_limit
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not selector.select(_POLL_SECONDS):
                spent = group_cpu_seconds(self._process.pid)
                if time.monotonic() > deadline or spent > cpu_deadline:
                    return None
            text = self._process.stdout.readline()
        return json.loads(text) if text.endswith("\n") else None


def group_cpu_seconds(leader: int) -> float:
    """Return the CPU time of a process group on Linux, with children that have ended."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[2]) == leader:
            ticks += sum(map(int, fields[11:15]))  # user, system, and both of ended children
    return ticks / os.sysconf("SC_CLK_TCK")


class Records:
    """What has been measured, in a file if there is one.

    Attributes:
        path: The file; None to keep nothing.
        content: Records by circuit and method, and what they were measured on.
    """

    def __init__(self, path: Path | None, again: Sequence[str]) -> None:
        self.path = path
        self.content: dict[str, Any] = {"circuits": {}}
        if path is not None and path.exists():
            self.content = json.loads(path.read_text(encoding="utf-8"))
        for records in self.content["circuits"].values():
            for method in again:
                records.pop(method, None)
        self.content |= {"machine": machine(), "versions": versions(PACKAGES)}

    def of(self, name: str) -> dict[str, Any]:
        """Return the records of a circuit, by method."""
        records: dict[str, Any] = self.content["circuits"].setdefault(name, {})
        return records

    def save(self) -> None:
        """Replace the file as a whole, so that an interruption loses nothing."""
        if self.path is None:
            return
        partial = self.path.with_name(self.path.name + ".part")
        partial.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.path)


def measure(entry: Entry, options: argparse.Namespace, worker: Worker, records: Records) -> Case:
    """Measure what is missing on one circuit."""
    known = records.of(entry.name)
    asked = hashlib.sha256(repr(entry.observables).encode()).hexdigest()[:16]
    for method in [m for m, record in known.items() if record.get("asked") != asked]:
        del known[method]  # of other observables
    for method in ("truth", *options.methods):
        limit = options.truth_limit if method == "truth" else options.limit
        before = known.get(method)
        if before and (before["status"] in ("answered", "refused") or before["limit"] >= limit):
            continue
        request = {"set": options.set, "name": entry.name, "method": method, "limit": limit}
        known[method] = worker.ask(request) | {"limit": limit, "asked": asked}
        records.save()
    return Case(entry.name, known)


def parsed() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=SETS, default="work")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="as in a shell")
    parser.add_argument("--limit", type=float, default=20.0, help="CPU seconds for one answer")
    parser.add_argument("--truth-limit", type=float, default=120.0, help="CPU seconds for a truth")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="METHOD")
    parser.add_argument("--memory", type=float, default=4.0, help="GiB that a method may use")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="save, and resume from it")
    parser.add_argument("--again", nargs="+", default=[], metavar="METHOD", help="forget these")
    return parser.parse_args()


def main() -> int:
    options = parsed()
    entries = [
        entry
        for entry in SETS[options.set]
        if any(fnmatch.fnmatch(entry.name, pattern) for pattern in options.only)
    ]
    worker = Worker(int(options.memory * 2**30))
    records = Records(options.json, options.again)
    print(head(options.methods))
    cases = []
    try:
        for entry in entries:
            cases.append(measure(entry, options, worker, records))
            print(line(cases[-1], options.methods), flush=True)
    except KeyboardInterrupt:
        return 130
    finally:
        worker.stop()
    print(summary(cases, options.methods, options.limit))
    wrong = [
        f"{case.name} {method}"
        for case in cases
        for method in options.methods
        if case.verdict(method) == "over" or (method == "auto" and case.verdict("auto") == "wrong")
    ]
    print("".join(f"\nfalse: {text}" for text in wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
