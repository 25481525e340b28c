"""Measures this machine's speeds: short pieces of real work, each the quickest of several times.

Each constant is measured where it weighs most, with what was measured before taken off. Other
users of the machine make single numbers larger, never smaller, hence the quickest.
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
from hpcq.engines.aer_statevector import AerEngine
from hpcq.kinds.running import run_on_farm
from hpcq.parallel.serial import SerialFarm
from hpcq.planning.assembly import Plan
from hpcq.planning.cost import task_seconds
from hpcq.planning.machine_speeds import Speeds
from hpcq.planning.planner import plan
from hpcq.reconstruction.contraction_work import predicted_work
from hpcq.reconstruction.expectation import contract
from hpcq.reconstruction.network import bond_tensor
from hpcq.runs.options import RunOptions

_MEMORY = 1 << 30
_FUSED_WIDTH = 18
_COPIED = 1 << 22
_CHAIN = 60


def measure_speeds(limits: Limits, budget: float = 0.5) -> Speeds:
    """Measure for as many threads, and in the precision, that the limits say.

    Args:
        limits: What a rank may use; its memory is not looked at.
        budget: Seconds that are spent on repeating each measurement; there are about 15.
    """
    from threadpoolctl import threadpool_limits

    bench = _Bench(Limits(_MEMORY, limits.threads, limits.precision), budget)
    with threadpool_limits(1, user_api="blas"):
        bench.memory()
        bench.products()
        bench.simulations()
        bench.contraction()
    bench.whole_run()
    return Speeds.clipped(bench.found)


class _Bench:
    """Takes the measurements in turn; later ones need earlier ones.

    Attributes:
        found: What was measured so far, by the name of the constant.
    """

    def __init__(self, limits: Limits, budget: float) -> None:
        self.found: dict[str, float] = {}
        self._limits = limits
        self._budget = budget
        self._engine = AerEngine(limits)
        self._rng = np.random.default_rng(0)

    def memory(self) -> None:
        """Copy numbers into new memory in another order, as laying out a tensor does."""
        numbers = np.ones((256, _COPIED // 256), dtype=complex)
        seconds = self._quickest(lambda: np.ascontiguousarray(numbers.T))
        self.found["byte"] = seconds / numbers.nbytes

    def products(self) -> None:
        """Multiply Pauli strings with states: tiny, of few rows, of many rows, on all threads."""
        few, many = 4, 64
        tiny = self._string_seconds(few, 1 << 4)
        self.found["string"] = tiny
        columns = 1 << 14
        light = (self._string_seconds(few, columns) - tiny) / (few * columns)
        heavy = (self._string_seconds(many, columns) - tiny) / (many * columns)
        flop = (heavy - light) / (4 * (many - few))
        self.found["flop"] = flop
        self.found["amplitude_string"] = light - 4 * few * flop
        threads = self._limits.threads
        if threads == 1:
            self.found["threads"] = 1.0
            return
        alone, together = (
            self._string_seconds(many, columns, 2 * threads, each) for each in (1, threads)
        )
        self.found["threads"] = alone / together

    def simulations(self) -> None:
        """Simulate tiny states, then such that Aer takes gate by gate, then such that it fuses."""
        found = self.found
        width, few, many = 4, 2, 40
        tiny = {layers: self._task_seconds(width, layers) for layers in (few, many)}
        gates = {layers: _mixed(width, layers).load.gates for layers in (few, many)}
        found["gate"] = (tiny[many] - tiny[few]) / (gates[many] - gates[few])
        found["simulation"] = tiny[few] - gates[few] * found["gate"] - found["string"]
        width, few, many = 13, 2, 6
        unfused = self._task_seconds(width, many) - self._task_seconds(width, few)
        more = _mixed(width, many).load.gates - _mixed(width, few).load.gates
        found["amplitude_gate"] = (unfused / more - found["gate"]) / 2**width
        width, few, many = _FUSED_WIDTH, 2, 8
        fused = self._task_seconds(width, many) - self._task_seconds(width, few)
        more = _mixed(width, many).load.passes - _mixed(width, few).load.passes
        found["amplitude_pass"] = fused / more / 2**width

    def contraction(self) -> None:
        """Contract a chain of tiny tensors, for few terms and for many."""
        found = self.found
        few, many = (
            self._chain(asked)
            for asked in ("Z0", [f"Z{a} X{b}" for a in range(_CHAIN) for b in range(a)])
        )
        seconds = {chain: self._contraction_seconds(chain) for chain in (few, many)}
        work = {c: predicted_work(c.network, c.terms, _MEMORY) for c in (few, many)}
        found["step"] = (seconds[few] - work[few].products * found["string"]) / work[few].steps
        rest = (work[many].products - work[few].products) * found["string"]
        rest += (work[many].entries - work[few].entries) * 16 * found["byte"]
        terms = len(many.terms.picks) - len(few.terms.picks)
        found["term"] = (seconds[many] - seconds[few] - rest) / terms

    def whole_run(self) -> None:
        """Run a plan of next to nothing; what is left over is the run itself."""
        tiny = self._chain("Z0", 2)
        phases: list[float] = []

        def once() -> None:
            result = run_on_farm(tiny, SerialFarm(), RunOptions("cpu"))
            phases.append(sum(result.provenance["seconds"].values()))

        self._quickest(once)
        speeds = Speeds.clipped(self.found)
        tasks = sum(task_seconds(t, True, self._limits, speeds) for t in tiny.tensors)
        self.found["run"] = min(phases) - tasks

    def _quickest(self, work: Callable[[], Any]) -> float:
        """Time some work until the budget is spent, at least twice; the first fills caches."""
        quickest = float("inf")
        end = time.perf_counter() + self._budget
        turns = 0
        while turns < 2 or time.perf_counter() < end:
            start = time.perf_counter()
            work()
            quickest = min(quickest, time.perf_counter() - start)
            turns += 1
        return quickest

    def _string_seconds(self, rows: int, columns: int, strings: int = 8, threads: int = 1) -> float:
        """Time one Pauli string out of several, X on one half and Z on the other."""
        states = self._complex((rows, columns))
        if self._limits.precision == "single":
            states = states.astype(np.complex64)
        qubits = columns.bit_length() - 1
        asked = [((k % qubits, "XZ"[k % 2]),) for k in range(strings)]
        seconds = self._quickest(partial(pauli_products, states, states, asked, threads))
        return seconds / (strings + 1)  # the identity's product is always made

    def _task_seconds(self, width: int, layers: int) -> float:
        tensor = ExactTensor(_mixed(width, layers), ((),))
        return self._quickest(partial(tensor.compute, 0, self._engine.statevector))

    def _contraction_seconds(self, chain: Plan) -> float:
        tensors = [self._complex(tensor.shape) for tensor in chain.tensors]
        asked = [
            [chain.strings[use][string] for string in strings]
            for use, strings in zip(chain.uses, chain.terms.strings, strict=True)
        ]

        def once() -> None:
            bonds = [
                bond_tensor(tensors[use][own], number, chain.cut, chain.network)
                for number, (use, own) in enumerate(zip(chain.uses, asked, strict=True))
            ]
            chain.terms.sum_up(contract(bonds, chain.network, chain.terms, _MEMORY).real)

        return self._quickest(once)

    def _chain(self, observables: Any, length: int = _CHAIN) -> Plan:
        from qiskit import QuantumCircuit

        circuit = QuantumCircuit(length)
        for qubit in range(length):
            circuit.ry(0.1 * qubit, qubit)
        for qubit in range(length - 1):
            circuit.cx(qubit, qubit + 1)
        return plan(circuit, observables, cut_labels=range(length), memory=_MEMORY, threads=1)

    def _complex(self, shape: tuple[int, ...]) -> NDArray[np.complex128]:
        return self._rng.normal(size=shape) + 1j * self._rng.normal(size=shape)


def _mixed(width: int, layers: int) -> Subcircuit:
    """Rotations of all qubits, then random pairs joined by CX, again and again."""
    from qiskit import QuantumCircuit

    rng = np.random.default_rng(width)
    circuit = QuantumCircuit(width)
    for _ in range(layers):
        for qubit in range(width):
            circuit.ry(0.3, qubit)
        places = [int(place) for place in rng.permutation(width)]
        for first, second in zip(places[::2], places[1::2], strict=False):
            circuit.cx(first, second)
    return Subcircuit(circuit, tuple(range(width)), ())
