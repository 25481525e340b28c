"""A rank's own worker: in a thread, or in a process of its own where tasks are long."""

from __future__ import annotations

import os

from hpcq.parallel.subprocess_worker import ProcessWorker
from hpcq.parallel.tasks import TaskFunction, WorkerFactory
from hpcq.parallel.worker import ThreadWorker, Worker

_VARIABLE = "HPCQ_WORKERS"
"""Environment variable: ``thread`` or ``process``, where the farm should not choose."""


def in_process(*, in_subprocess: bool) -> bool:
    """Say whether a worker gets a process of its own; the environment may overrule."""
    wanted = os.environ.get(_VARIABLE, "")
    return wanted == "process" or (in_subprocess and wanted != "thread")


class LocalWorker:
    """A rank's worker, whichever kind the work that is open wants.

    Args:
        factory: Makes the work.
    """

    def __init__(self, factory: WorkerFactory) -> None:
        self.worker: Worker | None = None
        self._opener = factory
        self._process = False

    def open(
        self, payload: bytes, *, in_subprocess: bool, work: TaskFunction | None = None
    ) -> None:
        """Open work on it.

        Args:
            payload: What the opener makes the work of.
            in_subprocess: Whether it is long enough for a process of its own.
            work: The work, where this process has it already.
        """
        process = in_process(in_subprocess=in_subprocess)
        if self.worker is not None and self._process != process:
            self.close()
        if self.worker is None:
            self.worker = ProcessWorker() if process else ThreadWorker()
            self._process = process
        if work is None or process:
            self.worker.open(self._opener, payload)
        else:
            known = work
            self.worker.open(lambda _: known, payload)

    def close(self) -> None:
        """End it."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None
