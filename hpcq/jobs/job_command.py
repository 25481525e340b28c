"""What a job runs: a command of hpcq, and its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcq.core.errors import InputError


@dataclass(frozen=True)
class JobCommand:
    """A command of hpcq that a job runs.

    Attributes:
        name: Its name, such as ``run``.
        subject: Its first argument: the circuit, or a script.
        arguments: Its further arguments, but for the output.
        options: Names of all options that it has, such as ``--output``.
        variables: Names of the environment variables that are options of it; the job has their
            values as arguments.
        before: Arguments before the first.
    """

    name: str
    subject: str
    arguments: tuple[str, ...]
    options: frozenset[str]
    variables: frozenset[str] = frozenset()
    before: tuple[str, ...] = ()

    @property
    def writes_output(self) -> bool:
        """Whether it takes the path of an output, which it resumes if it finds it unfinished."""
        return "--output" in self.options

    @property
    def has_shared_output(self) -> bool:
        """Whether several jobs are to work on the same output."""
        return "--shared" in self.arguments

    def completed(self, threads: int, memory: str, num_jobs: int) -> tuple[str, ...]:
        """Return its arguments with the limits of the job's ranks, where it leaves them open.

        Raises:
            InputError: If several jobs are to share its output, and it cannot.
        """
        arguments = list(self.arguments)
        given = {argument.partition("=")[0] for argument in arguments}
        for name, value in (("--threads", str(threads)), ("--memory", memory)):
            if name in self.options and name not in given:
                arguments.append(f"{name}={value}")
        if num_jobs > 1 and not self.has_shared_output:
            if "--shared" not in self.options:
                raise InputError(
                    f"array: {num_jobs}, but jobs cannot share the work of `hpcq {self.name}`, "
                    "expected 1"
                )
            arguments.append("--shared")
        return tuple(arguments)

    def words(self, subject: str, output: str, arguments: Sequence[str]) -> list[str]:
        """Return the words after ``hpcq``."""
        place = [f"--output={output}"] if self.writes_output else []
        return [self.name, *self.before, subject, *place, *arguments]
