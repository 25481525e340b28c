"""Shots from devices with a queue: submitted, polled and collected.

A device may take hours, and a run that waits for it may have to stop before. So the names of its
jobs are kept from the moment of submission, are saved with the unfinished round, and the next start
collects what the device has measured in the meantime, instead of asking, and paying, for it again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from hpcq.core.errors import EngineError
from hpcq.engines.protocol import (
    Cost,
    Piece,
    PreparedPiece,
    QueuedEngine,
    Refusal,
    ShotRun,
    Submission,
)
from hpcq.engines.requests import Request, Row

_FIRST_POLL_SECONDS, _MAX_POLL_SECONDS = 0.02, 10.0
"""Pauses between questions to the device, at first and in the end. Longer: later answers; shorter:
more requests to a service that many share."""

_POLL_GROWTH = 1.3
"""Factor between such pauses: after a minute the device is asked about every ten seconds."""


class Waves(QueuedEngine):
    """A device whose jobs can be left and collected by a later start.

    Args:
        device: The device.
        job_ids: Names of the jobs that an earlier start has submitted, by the seed of their shots.

    Attributes:
        job_ids: The same for those of this start too; read it at any time, from any thread.
    """

    def __init__(self, device: QueuedEngine, job_ids: Mapping[str, Sequence[str]] = {}) -> None:
        self.name = device.name
        self.defers_measurements = device.defers_measurements
        self.job_ids = {seed: tuple(names) for seed, names in job_ids.items()}
        self._device = device
        self._stopped = threading.Event()

    def supports(self, piece: Piece, request: Request) -> Cost | Refusal:
        """Return the device's answer."""
        return self._device.supports(piece, request)

    def prepare(self, piece: Piece) -> PreparedPiece:
        """Return a piece as the device prepared it."""
        return self._device.prepared(piece)

    def submit(self, runs: Sequence[ShotRun], seed: int) -> Submission:
        """Submit runs, unless an earlier start did and the device still knows their jobs."""
        known = self.job_ids.get(str(seed))
        submission = None if known is None else self._device.reopen(runs, known)
        if submission is None:
            submission = self._device.submit(runs, seed)
        self.job_ids[str(seed)] = submission.job_ids
        return submission

    def poll(self, submission: Submission) -> bool:
        """Return whether all jobs have ended."""
        return self._device.poll(submission)

    def collect(self, submission: Submission) -> list[list[Row]]:
        """Wait for the jobs, asking less and less often, and return their counts.

        Raises:
            EngineError: If a job failed, or the run stops; the device then goes on.
        """
        pause = _FIRST_POLL_SECONDS
        while not self._device.poll(submission):
            if self._stopped.wait(pause):
                raise EngineError(f"{self.name} goes on with {', '.join(submission.job_ids)}")
            pause = min(_POLL_GROWTH * pause, _MAX_POLL_SECONDS)
        return self._device.collect(submission)

    def reopen(self, runs: Sequence[ShotRun], job_ids: Sequence[str]) -> Submission | None:
        """Return jobs of an earlier start, if the device still knows them."""
        return self._device.reopen(runs, job_ids)

    def stop(self) -> None:
        """End all waiting; the device's jobs go on."""
        self._stopped.set()

    def forget(self) -> None:
        """Forget the jobs of a round whose counts are known."""
        self.job_ids.clear()
