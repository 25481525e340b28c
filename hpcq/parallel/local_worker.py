"""The local worker of a rank: a thread, or a subprocess where tasks are long."""

from __future__ import annotations

import os
from typing import Any

from hpcq.parallel.subprocess_worker import ProcessWorker
from hpcq.parallel.tasks import TaskFunction, WorkerFactory
from hpcq.parallel.worker import ThreadWorker, Worker

_VARIABLE = "HPCQ_WORKERS"
"""Environment variable: ``thread`` or ``process`` overrides the choice by the length of tasks."""


class LocalWorker:
    """A rank's worker, replaced when the next tasks need the other kind, or always a thread.

    Attributes:
        worker: The worker; None before :meth:`prepare` and after :meth:`close`.
    """

    def __init__(self, *, thread_only: bool = False) -> None:
        self.worker: Worker | None = None
        self._thread_only = thread_only
        self._is_subprocess = False

    def prepare(
        self,
        factory: WorkerFactory,
        setup: Any,
        *,
        in_subprocess: bool,
        function: TaskFunction | None = None,
    ) -> None:
        """Make the task function, starting a worker if there is none of the right kind.

        See :meth:`hpcq.parallel.coordinator.Coordinator.prepare`; a subprocess makes the function
        from the set-up even if this process has it.
        """
        forced = os.environ.get(_VARIABLE, "")
        is_subprocess = forced == "process" or (in_subprocess and forced != "thread")
        is_subprocess = is_subprocess and not self._thread_only
        if self.worker is not None and self._is_subprocess != is_subprocess:
            self.close()
        if self.worker is None:
            self.worker = ProcessWorker() if is_subprocess else ThreadWorker()
            self._is_subprocess = is_subprocess
        if function is None or is_subprocess:
            self.worker.prepare(factory, setup)
        else:
            self.worker.prepare(lambda _: function, setup)

    def close(self) -> None:
        """End the worker."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None
