"""Measures this machine's speeds with short pieces of real work, each as its fastest repetition.

Each constant is measured where it dominates, after subtracting the constants measured before. Other
load on the machine makes a time longer and never shorter, hence the fastest repetition.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Limits
from hpcq.cutting.subcircuits import Subcircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.cutting.subexperiments.pauli_products import pauli_products
from hpcq.engines.aer_engine import AerEngine
from hpcq.engines.requests import NO_PARAMETERS, Tensors
from hpcq.parallel.serial import SerialFarm
from hpcq.planning.cost import task_seconds
from hpcq.planning.exact_plan import ExactPlan
from hpcq.planning.machine_speeds import Speeds
from hpcq.planning.planner import plan
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.network import bond_tensor
from hpcq.runs.arguments import RunArguments
from hpcq.runs.options import RunOptions
from hpcq.runs.run import run_on_farm

_MEMORY_BYTES = 1 << 30
"""Memory limit in bytes of the measured plans, far more than they need."""

_FUSED_QUBITS = 18
"""Width of a simulation whose gates Aer fuses; larger: more precise, and slower to measure."""

_COPIED_NUMBERS = 1 << 22
"""Complex numbers (64 MiB) whose copy is timed; smaller: they might fit into a cache."""

_CHAIN_LENGTH = 60
"""Tensors of the contracted chain; larger: overheads average out, measurements take longer."""


def measure_speeds(limits: Limits, budget: float = 0.5) -> Speeds:
    """Return the speeds for the limits' threads and precision.

    The budget is seconds for repeating each measurement, of which there are about 15.
    """
    from threadpoolctl import threadpool_limits

    bench = _Bench(Limits(_MEMORY_BYTES, limits.threads, limits.precision), budget)
    with threadpool_limits(1, user_api="blas"):
        bench.memory()
        bench.products()
        bench.simulations()
        bench.contraction()
    bench.whole_run()
    return Speeds.clipped(bench.measured)


class _Bench:
    """The measurements, in the order of the methods; later ones need earlier ones."""

    def __init__(self, limits: Limits, budget: float) -> None:
        self.measured: dict[str, float] = {}  # by the name of the constant
        self._limits = limits
        self._budget = budget
        self._engine = AerEngine(limits)
        self._rng = np.random.default_rng(0)

    def memory(self) -> None:
        """Measure ``byte``: transpose an array into new memory, as reordering a tensor does."""
        numbers = np.ones((256, _COPIED_NUMBERS // 256), dtype=complex)
        seconds = self._quickest(lambda: np.ascontiguousarray(numbers.T))
        self.measured["byte"] = seconds / numbers.nbytes

    def products(self) -> None:
        """Measure Pauli products: of tiny states, of few rows, of many rows, and on all threads."""
        few, many = 4, 64
        tiny = self._string_seconds(few, 1 << 4)
        self.measured["string"] = tiny
        columns = 1 << 14
        light = (self._string_seconds(few, columns) - tiny) / (few * columns)
        heavy = (self._string_seconds(many, columns) - tiny) / (many * columns)
        flop = (heavy - light) / (4 * (many - few))
        self.measured["flop"] = flop
        self.measured["amplitude_string"] = light - 4 * few * flop
        threads = self._limits.threads
        if threads == 1:
            self.measured["threads"] = 1.0
            return
        alone = self._string_seconds(many, columns, 2 * threads)
        together = self._string_seconds(many, columns, 2 * threads, threads)
        self.measured["threads"] = alone / together

    def simulations(self) -> None:
        """Measure simulations: of tiny states, of wider ones, and where Aer fuses gates."""
        measured = self.measured
        width, few, many = 4, 2, 40
        tiny = {layers: self._task_seconds(width, layers) for layers in (few, many)}
        gates = {layers: _random_subcircuit(width, layers).load.gates for layers in (few, many)}
        measured["gate"] = (tiny[many] - tiny[few]) / (gates[many] - gates[few])
        measured["simulation"] = tiny[few] - gates[few] * measured["gate"] - measured["string"]
        seconds, gates_more, _ = self._task_difference(13, 2, 6)
        measured["amplitude_gate"] = (seconds / gates_more - measured["gate"]) / 2**13
        seconds, _, passes_more = self._task_difference(_FUSED_QUBITS, 2, 8)
        measured["amplitude_pass"] = seconds / passes_more / 2**_FUSED_QUBITS

    def contraction(self) -> None:
        """Measure the contraction of a chain of tiny tensors, for few terms and for many."""
        measured = self.measured
        few = self._chain("Z0")
        many = self._chain([f"Z{a} X{b}" for a in range(_CHAIN_LENGTH) for b in range(a)])
        seconds = {chain: self._contraction_seconds(chain) for chain in (few, many)}
        work = {chain: _contraction_of(chain).work for chain in (few, many)}
        steps_seconds = seconds[few] - work[few].products * measured["string"]
        measured["step"] = steps_seconds / work[few].steps
        rest = (work[many].products - work[few].products) * measured["string"]
        rest += (work[many].entries - work[few].entries) * 16 * measured["byte"]
        terms = len(many.terms.picks) - len(few.terms.picks)
        measured["term"] = (seconds[many] - seconds[few] - rest) / terms

    def whole_run(self) -> None:
        """Measure ``run``: the time of a tiny plan beyond that of its tasks."""
        tiny = self._chain("Z0", 2)
        phases: list[float] = []

        def run_once() -> None:
            result = run_on_farm(tiny, SerialFarm(), RunOptions(RunArguments("cpu")))
            phases.append(sum(result.provenance["seconds"].values()))

        self._quickest(run_once)
        speeds = Speeds.clipped(self.measured)
        tasks = sum(task_seconds(t, True, self._limits, speeds) for t in tiny.tensors)
        self.measured["run"] = min(phases) - tasks

    def _quickest(self, work: Callable[[], Any]) -> float:
        """Return the shortest time of a call, repeated at least twice within the budget.

        The first repetition fills caches.
        """
        quickest = float("inf")
        end = time.perf_counter() + self._budget
        repeats = 0
        while repeats < 2 or time.perf_counter() < end:
            start = time.perf_counter()
            work()
            quickest = min(quickest, time.perf_counter() - start)
            repeats += 1
        return quickest

    def _string_seconds(self, rows: int, columns: int, strings: int = 8, threads: int = 1) -> float:
        """Return the seconds per Pauli string; half of the strings are X, half Z."""
        states = self._complex((rows, columns))
        if self._limits.precision == "single":
            states = states.astype(np.complex64)
        qubits = columns.bit_length() - 1
        strings_asked = [((k % qubits, "XZ"[k % 2]),) for k in range(strings)]
        seconds = self._quickest(partial(pauli_products, states, states, strings_asked, threads))
        return seconds / (strings + 1)  # pauli_products always adds the identity's

    def _task_seconds(self, width: int, layers: int) -> float:
        tensor = ExactTensor(_random_subcircuit(width, layers), ((),))
        request = Tensors(tensor.strings)
        return self._quickest(lambda: self._engine.prepare(tensor).execute(NO_PARAMETERS, request))

    def _task_difference(self, width: int, few: int, many: int) -> tuple[float, float, float]:
        """Return how tasks of many and few layers differ in seconds, gates and fused passes."""
        seconds = self._task_seconds(width, many) - self._task_seconds(width, few)
        less, more = (_random_subcircuit(width, layers).load for layers in (few, many))
        return seconds, more.gates - less.gates, more.passes - less.passes

    def _contraction_seconds(self, chain: ExactPlan) -> float:
        tensors = [self._complex(tensor.shape) for tensor in chain.tensors]
        strings_asked = [
            [chain.strings[use][string] for string in strings]
            for use, strings in zip(chain.uses, chain.terms.strings, strict=True)
        ]

        def run_once() -> None:
            bonds = [
                bond_tensor(tensors[use][rows], number, chain.cut, chain.network)
                for number, (use, rows) in enumerate(zip(chain.uses, strings_asked, strict=True))
            ]
            chain.terms.sum_up(_contraction_of(chain).values(bonds).real)

        return self._quickest(run_once)

    def _chain(self, observables: Any, length: int = _CHAIN_LENGTH) -> ExactPlan:
        from qiskit import QuantumCircuit

        circuit = QuantumCircuit(length)
        for qubit in range(length):
            circuit.ry(0.1 * qubit, qubit)
        for qubit in range(length - 1):
            circuit.cx(qubit, qubit + 1)
        labels = range(length)
        chain = plan(circuit, observables, cut_labels=labels, memory=_MEMORY_BYTES, threads=1)
        assert isinstance(chain, ExactPlan), "no shots are asked for"
        return chain

    def _complex(self, shape: tuple[int, ...]) -> NDArray[np.complex128]:
        return self._rng.normal(size=shape) + 1j * self._rng.normal(size=shape)


def _contraction_of(chain: ExactPlan) -> Contraction:
    return Contraction.within(chain.network, chain.terms.picks, _MEMORY_BYTES)


def _random_subcircuit(width: int, layers: int) -> Subcircuit:
    """Return layers of rotations of all qubits and CX gates on random pairs."""
    from qiskit import QuantumCircuit

    rng = np.random.default_rng(width)
    circuit = QuantumCircuit(width)
    for _ in range(layers):
        for qubit in range(width):
            circuit.ry(0.3, qubit)
        qubits = [int(qubit) for qubit in rng.permutation(width)]
        for first, second in zip(qubits[::2], qubits[1::2], strict=False):
            circuit.cx(first, second)
    return Subcircuit(circuit, tuple(range(width)), ())
