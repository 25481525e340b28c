"""The arguments of a run that are not part of its plan, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.files import printable_path
from hpcq.core.limits import as_seconds
from hpcq.results import check_output
from hpcq.results.result import Result
from hpcq.runs.file_output import DEFAULT_CHECKPOINT_SECONDS, FileOutput
from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.shared.folder import DEFAULT_CLAIM_SECONDS
from hpcq.runs.shared.output import SharedOutput
from hpcq.runs.status import shared_folder
from hpcq.runs.stop_conditions import DEFAULT_SIGNAL, StopConditions


@dataclass(frozen=True, eq=False)
class RunArguments:
    """The arguments of :func:`hpcq.run` apart from plan and communicator.

    Attributes:
        device: ``cpu``, ``gpu``, or ``auto`` for a GPU where one works.
        engine: Name of the engine that simulates: ``aer``, the default, or one that another package
            registers by an entry point of the group ``hpcq.engines``.
        noise: For a plan with shots: an Aer NoiseModel, the path of one as JSON, or the name of a
            fake backend of qiskit-ibm-runtime, such as ``fake_brisbane``. Rank 0's is used; other
            ranks may pass None.
        backend: For a plan with shots: a BackendV2 or a SamplerV2, on every rank, or a name; by
            default Aer.
        parameter_values: For a plan with free parameters: their values, as an array of shape (rows,
            parameters), or as a list of mappings from names to values. The values of observables
            then have the shape (rows, observables). Only rank 0's are used.
        previous: For a plan with shots: a result of the same plan, to which shots are added.
        output: A file that is written during the run and at its end. If it holds the progress of an
            earlier run of the same plan, this run resumes it. Only rank 0's is used.
        checkpoint_seconds: Minimum seconds between writes of the output; above 0.
        time_limit: Seconds after which to save and stop. The end of a SLURM allocation is always
            observed.
        stop_signal: The signal that asks the run to stop within seconds; SIGTERM stops it at once.
        shared: Whether other jobs may work on the same output at the same time; each takes tasks
            that no other has taken.
        claim_seconds: For a shared output: seconds of silence after which other jobs take over a
            job's tasks.
    """

    device: str = "auto"
    engine: str | None = None
    noise: object = None
    backend: object = None
    parameter_values: Any = None
    previous: Result | None = None
    output: str | Path | None = None
    checkpoint_seconds: float = DEFAULT_CHECKPOINT_SECONDS
    time_limit: float | None = None
    stop_signal: str = DEFAULT_SIGNAL
    shared: bool = False
    claim_seconds: float = DEFAULT_CLAIM_SECONDS

    @classmethod
    def among(cls, options: Mapping[str, Any]) -> RunArguments:
        """Return the arguments that are among options of these names; the others are defaults."""
        names = [field.name for field in fields(cls) if field.name in options]
        return cls(**{name: options[name] for name in names})

    @property
    def num_rows(self) -> int:
        """Number of rows of parameters; 1 if there are none."""
        return 1 if self.parameter_values is None else len(self.parameter_values)

    def for_other_ranks(self) -> RunArguments:
        """Return the arguments that every rank needs; the rest is known to rank 0 alone."""
        return replace(
            self,
            engine=None,
            noise=None,
            backend=None,
            parameter_values=None,
            previous=None,
            output=None,
            shared=False,
        )

    def stop_conditions(self, rank: int, since: float | None = None) -> StopConditions:
        """Return when the run stops on a rank; its time limit began to count at ``since``.

        Raises:
            InputError: If an argument is wrong.
        """
        as_seconds(self.checkpoint_seconds, "checkpoint_seconds")
        as_seconds(self.claim_seconds, "claim_seconds")
        return StopConditions(
            self.time_limit, self.stop_signal, since=since, check_allocation=rank == 0
        )

    def open_output(self) -> RunOutput:
        """Return the output of the run: a file, or none, so that shots are added to ``previous``.

        Raises:
            InputError: If the output cannot be written, or exists but hpcq did not write it; or if
                arguments exclude each other.
        """
        if self.output is None:
            if self.shared:
                raise InputError("shared: given without an output, expected one for jobs to share")
            return NoOutput(self.previous)
        if self.previous is not None:
            raise InputError("previous: given with an output, expected only one of them")
        if not isinstance(self.output, str | PathLike):
            raise InputError(f"output: {str(self.output)[:40]!r}, expected a path")
        file = check_output(Path(self.output))
        if self.shared:
            return SharedOutput(file, self.checkpoint_seconds, self.claim_seconds)
        if shared_folder(file).is_dir():
            raise InputError(
                f"output: {printable_path(file)!r} is shared by several jobs, which keep "
                f"{shared_folder(file).name!r}; expected --shared, or another file"
            )
        return FileOutput(file, self.checkpoint_seconds)
