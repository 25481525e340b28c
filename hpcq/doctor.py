"""What this machine offers, each finding seen and not guessed, and known answers checked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hpcq.errors import HpcqError
from hpcq.machine import format_bytes, launched, usable_cores, usable_memory
from hpcq.version import versions


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        text: What was found.
        ok: False if hpcq cannot do its main job because of it.
    """

    name: str
    text: str
    ok: bool = True

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.name:<8}  {self.text}"


def examine() -> list[Finding]:
    """Look at everything, in the order of the data's way."""
    return [finding for look in _LOOKS for finding in look()]


def _machine() -> Iterator[Finding]:
    cores = len(usable_cores())
    yield Finding("machine", f"{cores} cores, {format_bytes(usable_memory())} of free memory")


def _packages() -> Iterator[Finding]:
    yield Finding("versions", ", ".join(f"{name} {v}" for name, v in versions().items()))


def _mpi() -> Iterator[Finding]:
    from hpcq.farm.mpi import CURE, open_farm

    launcher = shutil.which("mpirun") or shutil.which("mpiexec") or shutil.which("srun")
    try:
        import mpi4py
    except ImportError:
        yield Finding("mpi", f"mpi4py is not installed: one rank only; {CURE}")
        return
    text = f"mpi4py {mpi4py.__version__}, launcher {launcher or 'not found'}"
    if launched():
        farm = open_farm()
        from mpi4py import MPI

        library = MPI.Get_library_version().split("\n")[0].strip("\x00")
        text += f", {farm.size} ranks, {library}"
    yield Finding("mpi", text)


def _aer() -> Iterator[Finding]:
    from hpcq.engines.aer import aer_version, probe_gpu

    try:
        yield Finding("aer", f"qiskit-aer {aer_version()}")
        works, reason = probe_gpu()
        yield Finding("gpu", "a GPU answers" if works else f"none: {reason}")
    except HpcqError as error:
        yield Finding("aer", str(error), ok=False)


def _slurm() -> Iterator[Finding]:
    if "SLURM_JOB_ID" in os.environ:
        job = os.environ["SLURM_JOB_ID"]
        nodes = os.environ.get("SLURM_JOB_NODELIST", "?")
        yield Finding("slurm", f"inside job {job} on {nodes}")
    else:
        found = shutil.which("sbatch")
        yield Finding("slurm", f"sbatch at {found}" if found else "none")


def _known_answers() -> Iterator[Finding]:
    """Cut a GHZ state: <Z Z> = 1, <X X X X> = 1, <Z> = 0, through gate and wire cuts."""
    from qiskit import QuantumCircuit

    from hpcq.cutting.cuts import Cuts, GateCut, WireCut
    from hpcq.farm.serial import SerialFarm
    from hpcq.planning import plan
    from hpcq.running import run_on_farm

    circuit = QuantumCircuit(4)
    circuit.h(0)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    expected = {"Z0 Z3": 1.0, "X0 X1 X2 X3": 1.0, "Z2": 0.0}
    ways = {"gate": Cuts(gates=(GateCut(1),)), "wire": Cuts(wires=(WireCut(1, 1),))}
    for name, cuts in ways.items():
        try:
            result = run_on_farm(
                plan(circuit, list(expected), cuts=cuts, threads=1), SerialFarm(), device="cpu"
            )
        except HpcqError as error:
            yield Finding("answers", f"{name} cut: {error}", ok=False)
            continue
        pairs = zip(result.expectation_values, expected.values(), strict=True)
        worst = max(abs(value - known) for value, known in pairs)
        yield Finding(
            "answers", f"{name} cut of a GHZ state: error {worst:.1e}", ok=bool(worst < 1e-10)
        )


_LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _machine,
    _packages,
    _mpi,
    _aer,
    _slurm,
    _known_answers,
)
