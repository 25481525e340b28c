"""Jobs of primitives, which have ended when they are returned."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Generic, TypeVar

from qiskit.primitives import BasePrimitiveJob
from qiskit.providers import JobStatus

T = TypeVar("T")


class FinishedJob(BasePrimitiveJob[T, JobStatus], Generic[T]):  # type: ignore[misc]  # Qiskit brings no types
    """A job that the calling thread computes at once: no other may use MPI.

    Args:
        compute: Returns the result. An error that it raises is raised by :meth:`result`.
    """

    def __init__(self, compute: Callable[[], T]) -> None:
        super().__init__(str(uuid.uuid4()))
        self._error: Exception | None = None
        try:
            self._result = compute()
        except Exception as error:
            self._error = error

    def result(self) -> T:
        """Return the result.

        Raises:
            HpcqError: If the job has failed.
        """
        if self._error is not None:
            raise self._error
        return self._result

    def status(self) -> JobStatus:
        """Return ``DONE`` or ``ERROR``."""
        return JobStatus.DONE if self._error is None else JobStatus.ERROR

    def done(self) -> bool:
        """Whether the job has succeeded."""
        return self._error is None

    def running(self) -> bool:
        """Whether the job is being computed: never, once it is returned."""
        return False

    def cancelled(self) -> bool:
        """Whether the job was cancelled: never, see :meth:`cancel`."""
        return False

    def in_final_state(self) -> bool:
        """Whether the job has ended: always."""
        return True

    def cancel(self) -> bool:
        """Return whether the job could be cancelled: never, because it has ended.

        Nothing is undone; :meth:`result` still returns the result.
        """
        return False
