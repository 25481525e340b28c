"""A run for outcomes: the farm simulates states and draws samples; rank 0 answers the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hpcq.engines.protocol import Engine
from hpcq.kinds.outcomes.answers import Answers
from hpcq.kinds.outcomes.sample_tasks import tasks_of
from hpcq.kinds.outcomes.state_tasks import StateTasks, branch_source
from hpcq.planning.outcome_plan import OutcomesPlan
from hpcq.reconstruction.outcomes.sampling_cost import CHUNK_SHOTS
from hpcq.reconstruction.outcomes.sites import SiteNetwork, site_network
from hpcq.results.outcome_record import OutcomeRecord
from hpcq.results.progress import PartialProgress, Stage
from hpcq.results.result import Result
from hpcq.results.samples import Samples
from hpcq.runs.prepared_run import PreparedRun
from hpcq.runs.provenance import RunAccounting
from hpcq.runs.stages import StageRunner

_SIMULATE, _SAMPLE, _ANSWER = "simulate", "sample", "answer"

_LONG_TASK_SECONDS = 10.0
"""Minimum predicted seconds of a task of samples to draw it in a separate process, so that a stop
need not wait for it. Shorter ones, such as the chunks of states that are kept, are drawn in this
process: measured for 10**6 samples of 24 qubits, the other process and its imports took 0.9 s of
2.2."""


@dataclass(frozen=True, eq=False)
class OutcomesRun(PreparedRun):
    """A run for outcomes that is prepared but not started.

    Attributes:
        task_set: The simulations.
    """

    plan: OutcomesPlan
    task_set: StateTasks

    def check_engine(self, engine: Engine) -> None:
        """Check that an engine simulates all subcircuits."""
        self.task_set.check_engine(engine)

    def compute(self, runner: StageRunner, engine: Engine) -> Result:
        """Run on rank 0, which hands tasks to the others."""
        plan, question = self.plan, self.plan.question
        stages: list[Stage] = []
        known = plan.known
        if known.network is None:
            known.network = self._simulate(runner, engine, stages)
        network = with_source(plan, known.network, engine)
        answers = Answers(plan, network, plan.table_bytes)
        provenance: dict[str, Any] = {"tasks": len(self.task_set.branches)}
        if network.sites and known.norm_error is None:
            known.norm_error = answers.norm_error()
        if known.norm_error is not None:
            provenance["norm_error"] = known.norm_error
        samples, distance = None, 0.0
        if question.shots:
            samples, distance = self._sample(runner, engine, known.network, stages)
        record = OutcomeRecord(
            question.measurements,
            packed=None if samples is None else samples.packed,
            sample_probabilities=None if samples is None else samples.probabilities,
            distance=distance,
            asked=answers.asked(question.bitstrings) if question.bitstrings else None,
            marginals=answers.marginals(question.marginals),
            top=answers.top(question.top) if question.top else None,
        )
        runner.accounting.end(_ANSWER)
        self.options.monitor.end_line()
        return self.result(
            runner.accounting,
            None,
            verdict=plan.verdict,
            provenance=provenance,
            sections=(record,),
            **plan.stored_pieces,
        )

    def _simulate(self, runner: StageRunner, engine: Engine, stages: list[Stage]) -> SiteNetwork:
        """Return the sites with the states that are kept, which all ranks simulate."""
        plan, task_set = self.plan, self.task_set
        source = self.options.output.stage(_SIMULATE, task_set.farm_tasks())
        simulated = source.finished
        stages.append(Stage(_SIMULATE, simulated))
        if simulated.num_done:
            self.options.monitor.log(
                f"going on: {simulated.num_done} of {len(simulated)} tasks are done"
            )
        if task_set.branches:
            is_long = runner.are_long(plan.states_cost.simulation_seconds)
            runner.send(task_set, lambda: engine, in_subprocess=is_long)
            runner.run(source, _SIMULATE, lambda: self._partial(stages, runner.accounting))
        states = task_set.states(simulated)
        network = site_network(plan.cut, plan.tensors, plan.uses, states, plan.kept_bytes)
        # Outcomes are those of all qubits of the circuit, even without a gate that matters.
        return replace(network, num_qubits=plan.circuit.num_qubits, source=None)

    def _sample(
        self, runner: StageRunner, engine: Engine, network: SiteNetwork, stages: list[Stage]
    ) -> tuple[Samples, float]:
        """Return the samples, which all ranks draw, and a bound on their distance."""
        plan = self.plan
        tasks = tasks_of(plan, network)
        # Groups of chunks depend on the plan's ranks. The stage's name includes them, so that a
        # later start does not mistake the results of other groups for these.
        name = f"{_SAMPLE}, {tasks.num_tasks} tasks of {tasks.group} chunks"
        source = self.options.output.stage(name, tasks.farm_tasks())
        stages.append(Stage(name, source.finished))
        task_seconds = tasks.shot_seconds * min(tasks.shots, CHUNK_SHOTS * tasks.group)
        is_long = task_seconds > _LONG_TASK_SECONDS
        runner.send(tasks, lambda: engine, in_subprocess=is_long)
        runner.run(source, _SAMPLE, lambda: self._partial(stages, runner.accounting))
        return tasks.samples(source.finished)

    def _partial(self, stages: list[Stage], accounting: RunAccounting) -> Result:
        """Return a partial result, with everything that a later start needs to resume."""
        return self.result(
            accounting,
            None,
            status="partial",
            provenance={"tasks": len(self.task_set.branches)},
            unfinished=PartialProgress(tuple(stages)),
        )


def with_source(plan: OutcomesPlan, network: SiteNetwork, engine: Engine) -> SiteNetwork:
    """Return a network that computes the states that it does not keep."""
    if all(map(network.is_kept, range(len(network.sites)))):
        return network
    return replace(network, source=branch_source(plan.tensors, engine))
