"""The errors that hpcq raises on purpose, and the exit code of each."""

from __future__ import annotations


class HpcqError(Exception):
    """Base class of all errors that hpcq raises on purpose."""

    exit_code = 1
    on_all_ranks = False
    """Whether all ranks raise it, so that none is left waiting for the others."""

    on_one_rank = False
    """Whether only this rank raises it, so that this rank has to report it."""


class InputError(HpcqError, ValueError):
    """The input or the usage is wrong; the message says what was expected.

    It is raised before any task is given to a worker, so nothing is lost: correct the argument
    that the message names and run the command again.
    """

    exit_code = 2
    on_all_ranks = True


class MemoryLimitError(InputError):
    """The problem needs more memory than a rank has, however it is sliced."""


class MissingDependencyError(HpcqError, ImportError):
    """An optional package (Aer, MPI) is missing; the message says how to install it."""

    on_all_ranks = True


class SingletonWorldError(InputError):
    """A launcher started several processes, but each of them sees an MPI world of size 1.

    Each process would do the whole job and overwrite the results of the others.
    """


class EngineError(HpcqError):
    """A simulator refused a circuit that it should have run, or failed on it."""


class StoppedError(HpcqError):
    """The run stopped on request; finished tasks are in the output file, if there is one.

    Run the same command again to resume.
    """

    exit_code = 75
    on_all_ranks = True


class NotWrittenError(HpcqError):
    """A file could not be written, because the disk is full, say; the old file is unchanged."""


class TasksFailedError(HpcqError):
    """Some tasks failed; the message names them, and the results of the others are in the file."""

    on_all_ranks = True
