"""Devices with a queue: shots are submitted, polled and collected, by a later start if necessary.

A device may take hours, and the run may have to stop before. The ids of the device's jobs are
therefore kept from the moment of submission and saved with the unfinished round. The next start
collects the counts that the device has measured in the meantime, instead of paying for them twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from hpcq.core.errors import EngineError
from hpcq.engines.protocol import (
    Cost,
    Engine,
    Piece,
    PreparedPiece,
    QueuedEngine,
    Refusal,
    ShotRun,
    Submission,
)
from hpcq.engines.requests import Request, Row

_FIRST_POLL_SECONDS, _MAX_POLL_SECONDS = 0.02, 10.0
"""Seconds between polls of the device: the first pause and the longest. Longer: later results;
shorter: more requests to a service that many users share."""

_POLL_GROWTH = 1.3
"""Factor from one pause to the next: after a minute, the device is polled every ten seconds."""

_MAX_FAILED_POLLS, _FAILED_POLL_GROWTH = 12, 2.0
"""Polls in a row that may fail before the job is given up, half a minute after the first, and the
factor between their pauses. More: failures are seen later; fewer: a short loss of the network
costs a job."""


class ResumableDevice(Engine):
    """A device whose jobs a run can leave, so that a later start collects them.

    Args:
        device: The device.
        job_ids: Ids of the jobs that an earlier start has submitted, by the seed of their shots;
            those of this start are added. Any thread may read it.
        save_soon: Has the ids saved, for a run that is killed while a device works.
    """

    def __init__(
        self,
        device: QueuedEngine,
        job_ids: dict[str, Sequence[str]],
        save_soon: Callable[[], None],
    ) -> None:
        self.name = device.name
        self.defers_measurements = device.defers_measurements
        self._device, self._job_ids, self._save_soon = device, job_ids, save_soon
        self._stopped = threading.Event()

    def supports(self, piece: Piece, request: Request) -> Cost | Refusal:
        """Return the cost that the device predicts for a request, or why it refuses."""
        return self._device.supports(piece, request)

    def prepare(self, piece: Piece) -> PreparedPiece:
        """Return a piece as the device prepared it."""
        return self._device.prepared(piece)

    def measure(self, runs: Sequence[ShotRun], seed: int) -> list[list[Row]]:
        """Submit runs, unless an earlier start did, and wait for their counts.

        Raises:
            EngineError: If the device refuses or fails, or the run stops; in the last case the
                device continues, and ``job_ids`` keeps its jobs.
        """
        key = str(seed)
        known = self._job_ids.get(key)
        submission = None if known is None else self._device.reopen(runs, known)
        if submission is None:
            submission = self._device.submit(runs, seed)
        self._job_ids[key] = submission.job_ids
        try:
            self._wait(submission)
            return self._device.collect(submission)
        except Exception:  # a device may return anything
            if not self._stopped.is_set():
                del self._job_ids[key]  # it failed: the next attempt is another job
            raise

    def _wait(self, submission: Submission) -> None:
        """Wait until all jobs have ended; poll them less and less often."""
        pause, failures, is_first = _FIRST_POLL_SECONDS, 0, True
        while True:
            try:
                if self._device.poll(submission):
                    return
                failures, growth = 0, _POLL_GROWTH
            except EngineError:
                failures, growth = failures + 1, _FAILED_POLL_GROWTH
                if failures > _MAX_FAILED_POLLS:
                    raise
            if is_first:  # not for simulators, whose jobs have ended by now
                self._save_soon()
                is_first = False
            if self._stopped.wait(pause):
                raise EngineError(f"{self.name} goes on with {', '.join(submission.job_ids)}")
            pause = min(growth * pause, _MAX_POLL_SECONDS)

    def stop(self) -> None:
        """End all waiting; the device's jobs continue."""
        self._stopped.set()
