"""The few ways in which hpcq says no."""

from __future__ import annotations


class HpcqError(Exception):
    """Base of all errors that hpcq raises on purpose."""

    exit_code = 1


class InputError(HpcqError, ValueError):
    """The input or the usage is wrong, and the message says what was expected.

    Raised before any work is farmed out, so nothing is lost: correct the
    argument that the message names and run the command again.
    """

    exit_code = 2


class MemoryLimitError(InputError):
    """What is asked for needs more memory than a rank has, however it is sliced."""


class MissingDependencyError(HpcqError, ImportError):
    """A part that is installed by extra (Aer, MPI) is not there; the message has the cure."""

    exit_code = 1


class WorldOfOneError(InputError):
    """A launcher started several processes, but each one sees an MPI world of size 1.

    The processes would all do the whole job and overwrite each other's result.
    """


class EngineError(HpcqError):
    """A simulator refused or failed a circuit that it should have run."""
