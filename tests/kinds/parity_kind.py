"""A kind of run for the tests: the parities of the outcomes of an uncut circuit.

It shows what a kind consists of. It answers its own question, does not cut, has one task for each
parity, and stores nothing of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.quantum_info import Statevector

from hpcq.circuits.observables import Observable
from hpcq.core.errors import InputError
from hpcq.core.limits import Limits
from hpcq.engines.protocol import Engine
from hpcq.engines.registry import EngineSpec
from hpcq.parallel.serial import Farm
from hpcq.parallel.tasks import TaskFunction, Tasks
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.fingerprint import fingerprint_of
from hpcq.planning.kind_registry import register
from hpcq.planning.plan import CompiledPlan, Plan
from hpcq.planning.problem import Problem
from hpcq.results.progress import PartialProgress, Stage
from hpcq.results.result import Result
from hpcq.runs.options import RunOptions
from hpcq.runs.prepared_run import PreparedRun, begin_run
from hpcq.runs.stages import StageRunner


@dataclass(frozen=True)
class Parities:
    """The question: parities of sets of qubits."""

    observables: tuple[Observable, ...]

    def config(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, eq=False)
class ParityTasks:
    plan: Plan

    def task_function(self, _open_engine: Callable[[], Any]) -> TaskFunction:
        probabilities = Statevector(self.plan.circuit).probabilities()
        outcomes = np.arange(len(probabilities))

        def compute(task: int, _payload: bytes = b"") -> NDArray[np.float64]:
            ((term, _),) = self.plan.observables[task].terms
            mask = sum(1 << qubit for qubit, _ in term)
            signs = 1 - 2 * (np.bitwise_count(outcomes & mask) % 2).astype(float)
            return np.array([signs @ probabilities])

        return compute


@dataclass(frozen=True, eq=False)
class ParityRun(PreparedRun):
    def check_engine(self, engine: Engine) -> None:
        """Accept any engine: none is used."""

    def compute(self, runner: StageRunner, engine: Engine) -> Result:
        count = len(self.plan.observables)
        tasks = Tasks(np.full(count, 1e-3), np.float64, describe="parity {}".format)
        source = self.options.output.stage("parities", tasks)
        progress = PartialProgress((Stage("parities", source.finished),))

        def partial() -> Result:
            return self.result(runner.accounting, None, status="partial", unfinished=progress)

        runner.send(ParityTasks(self.plan), lambda: engine, in_subprocess=False)
        runner.run(source, "parities", partial)
        return self.result(runner.accounting, np.concatenate(list(source.finished)))


class ParityKind:
    name = "parities"
    question = Parities
    contents = "parities"
    title = "a run for parities"
    takes_parameters = False
    objective = "seconds"

    def plan(self, problem: Problem, _request: CutRequest, _farm: Farm | None) -> Plan:
        return Plan(problem.circuit, problem.observables, problem.limits, problem.config, None)

    def with_limits(self, plan: Plan, limits: Limits) -> Plan:
        return plan.with_threads(limits.threads)

    def check(self, plan: Plan, ranks: int) -> None:
        """Accept any plan."""

    def describe(self, plan: Plan) -> str:
        return f"{len(plan.observables)} parities of {plan.circuit.num_qubits} qubits"

    def to_json(self, plan: Plan) -> dict[str, Any]:
        return {"num_parities": len(plan.observables)}

    def prepare(self, plan: Plan, options: RunOptions) -> ParityRun:
        fingerprint = fingerprint_of(plan)
        begin_run(plan, options, fingerprint)
        return ParityRun(plan, options, fingerprint, EngineSpec())

    def compile(self, _plan: Plan, _session: object, _device: str) -> CompiledPlan:
        raise InputError("plan: one for parities, which has no program")


register(ParityKind())
