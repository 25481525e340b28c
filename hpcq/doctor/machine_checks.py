"""Checks of this machine and installation, and of two runs with known answers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from typing import get_args

from hpcq.core.errors import HpcqError
from hpcq.core.files import printable_path
from hpcq.core.limits import MIN_MEMORY, Limits, Precision, check_threads
from hpcq.core.system import format_bytes, is_launched, usable_cores, usable_memory
from hpcq.core.version import versions
from hpcq.doctor.finding import Finding
from hpcq.planning.description import count_text
from hpcq.planning.machine_speeds import Speeds, look_up, write_speeds


def examine() -> list[Finding]:
    """Return the findings of all checks, those of a job on rank 0 alone. Collective."""
    return [finding for check in _CHECKS for finding in check()]


def calibrate(threads: int | None = None, budget: float = 0.5) -> list[Finding]:
    """Measure this machine's speeds in both precisions on rank 0, and save them.

    Collective.

    Args:
        threads: Threads of one simulation; by default a rank's share of its node's cores.
        budget: See :func:`hpcq.doctor.calibration.measure_speeds`.

    Raises:
        InputError: If there are far more threads than cores of this process.
        HpcqError: If Aer is missing, or the file cannot be written.
    """
    from hpcq.parallel.world import abort_on_error, open_farm

    farm = open_farm()
    cores = farm.allreduce_min(farm.local_resources()[0])
    findings = []
    check_threads(threads or 1, len(usable_cores()))
    with abort_on_error(farm):
        if farm.rank == 0:
            from hpcq.doctor.calibration import measure_speeds

            load = os.getloadavg()[0]
            busy = f" (load {load:.1f}: repeat it on an idle machine)" if load > 0.5 else ""
            kinds = [(p, t) for p in get_args(Precision) for t in sorted({1, threads or cores})]
            for precision, number in kinds:
                limits = Limits(MIN_MEMORY, number, precision)
                speeds = measure_speeds(limits, budget)
                path = write_speeds(limits, speeds)
                text = f"{_describe_limits(limits)}: {_list_speeds(speeds)}"
                findings.append(Finding("measured", text))
            findings.append(Finding("saved", f"{printable_path(path)}{busy}"))
        farm.broadcast(b"")  # the other ranks wait here, and do not disturb the measurements
    return findings


def _describe_limits(limits: Limits) -> str:
    return f"{count_text(limits.threads, 'thread')}, {limits.precision} precision"


def _list_speeds(speeds: Speeds) -> str:
    """Return the text of measured speeds."""
    seconds = {f.name: getattr(speeds, f.name) for f in fields(Speeds)}
    del seconds["threads"], seconds["calibrated"]
    texts = [f"{name} {value:.2g} s" for name, value in seconds.items()]
    return ", ".join([f"threads {speeds.threads:.2g} times as fast as one", *texts])


def _speeds() -> Iterator[Finding]:
    for precision in get_args(Precision):
        limits = Limits(MIN_MEMORY, len(usable_cores()), precision)
        speeds, source = look_up(limits)
        cure = "" if speeds.calibrated else " (hpcq doctor --calibrate measures them)"
        yield Finding("speeds", f"{_describe_limits(limits)}: {source}{cure}")


def _machine() -> Iterator[Finding]:
    cores = len(usable_cores())
    yield Finding("machine", f"{cores} cores, {format_bytes(usable_memory())} of free memory")


def _packages() -> Iterator[Finding]:
    yield Finding("versions", ", ".join(f"{name} {v}" for name, v in versions().items()))


def _mpi() -> Iterator[Finding]:
    from hpcq.parallel.world import CURE, open_farm

    launcher = shutil.which("mpirun") or shutil.which("mpiexec") or shutil.which("srun")
    try:
        import mpi4py
    except ImportError:
        yield Finding("mpi", f"mpi4py is not installed: one rank only; {CURE}")
        return
    text = f"mpi4py {mpi4py.__version__}, launcher {launcher or 'not found'}"
    if is_launched():
        try:
            farm = open_farm()
        except HpcqError as error:
            yield Finding("mpi", str(error), ok=False)
            return
        from mpi4py import MPI

        library = MPI.Get_library_version().split("\n")[0].strip("\x00")
        text += f", {farm.size} ranks, {library}"
    yield Finding("mpi", text)


def _aer() -> Iterator[Finding]:
    from hpcq.engines.aer import import_aer, probe_gpu

    try:
        yield Finding("aer", f"qiskit-aer {import_aer().__version__}")
        works, reason = probe_gpu()
        yield Finding("gpu", "a GPU answers" if works else f"none: {reason}")
    except HpcqError as error:
        yield Finding("aer", str(error), ok=False)


def _batch() -> list[Finding]:
    from hpcq.doctor.job_checks import examine_batch

    return examine_batch()


def _known_answers() -> Iterator[Finding]:
    """Cut a GHZ state: <Z Z> = 1, <X X X X> = 1, <Z> = 0, through gate and wire cuts."""
    from qiskit import QuantumCircuit

    from hpcq.cutting.cuts import Cuts, GateCut, WireCut
    from hpcq.parallel.serial import SerialFarm
    from hpcq.planning.planner import plan
    from hpcq.runs.arguments import RunArguments
    from hpcq.runs.options import RunOptions
    from hpcq.runs.run import run_on_farm

    circuit = QuantumCircuit(4)
    circuit.h(0)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    expected = {"Z0 Z3": 1.0, "X0 X1 X2 X3": 1.0, "Z2": 0.0}
    cut_kinds = {"gate": Cuts(gates=(GateCut(1),)), "wire": Cuts(wires=(WireCut(1, 1),))}
    for name, cuts in cut_kinds.items():
        try:
            made_plan = plan(circuit, list(expected), cuts=cuts, threads=1)
            result = run_on_farm(made_plan, SerialFarm(), RunOptions(RunArguments("cpu")))
        except HpcqError as error:
            yield Finding("answers", f"{name} cut: {error}", ok=False)
            continue
        pairs = zip(result.expectation_values, expected.values(), strict=True)
        max_error = max(abs(value - known) for value, known in pairs)
        text = f"{name} cut of a GHZ state: error {max_error:.1e}"
        yield Finding("answers", text, ok=bool(max_error < 1e-10))


_Check = Callable[[], Iterable[Finding]]
_CHECKS: tuple[_Check, ...] = (_machine, _packages, _mpi, _aer, _batch, _speeds, _known_answers)
