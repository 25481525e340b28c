"""The few ways in which hpcq says no."""

from __future__ import annotations


class HpcqError(Exception):
    """Base of all errors that hpcq raises on purpose."""

    exit_code = 1
    on_all_ranks = False
    """Whether all ranks raise it together, so that none is left waiting."""

    on_one_rank = False
    """Whether only this rank knows of it, so that nobody else can say it."""


class InputError(HpcqError, ValueError):
    """The input or the usage is wrong, and the message says what was expected.

    Raised before any work is farmed out, so nothing is lost: correct the
    argument that the message names and run the command again.
    """

    exit_code = 2
    on_all_ranks = True


class MemoryLimitError(InputError):
    """What is asked for needs more memory than a rank has, however it is sliced."""


class MissingDependencyError(HpcqError, ImportError):
    """A part that is installed by extra (Aer, MPI) is not there; the message has the cure."""

    on_all_ranks = True


class SingletonWorldError(InputError):
    """A launcher started several processes, but each one sees an MPI world of size 1.

    The processes would all do the whole job and overwrite each other's result.
    """


class EngineError(HpcqError):
    """A simulator refused or failed a circuit that it should have run."""


class StoppedError(HpcqError):
    """The run was asked to stop and has; what was finished is in the file, if there is one.

    Run the same command again to go on.
    """

    exit_code = 75
    on_all_ranks = True


class NotWrittenError(HpcqError):
    """A file could not be written, for want of room, say; it is as it was before."""


class TasksFailedError(HpcqError):
    """Some tasks could not be done; the message names them, and the others are in the file."""

    on_all_ranks = True
