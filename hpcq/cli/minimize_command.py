"""The command ``hpcq minimize``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from hpcq.circuits.assignment import read_assignments
from hpcq.cli import requests
from hpcq.cli.parameter_values import ParameterValues
from hpcq.cli.settings import share_settings
from hpcq.core.errors import InputError
from hpcq.core.files import printable_path
from hpcq.loop.minimize import LoopRun
from hpcq.loop.problem import LoopRequest
from hpcq.parallel.world import abort_on_error, stop_before_start
from hpcq.planning.kind import kind_for
from hpcq.planning.plan import Plan
from hpcq.reports.text import minimum_text
from hpcq.runs.arguments import RunArguments
from hpcq.runs.collective import from_rank_0
from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.session import Session


def minimize(options: argparse.Namespace) -> int:
    """Minimise an observable on all ranks, and print the minimum."""
    start_time = time.monotonic()
    reader = requests.start_reading_circuit(options)
    session = Session()
    farm = session.farm
    with abort_on_error(farm):
        share_settings(options, farm)
        options.values = from_rank_0(farm, lambda: values_of_loop(options)) or ParameterValues()
    options.previous, options.known, options.shared = None, None, False
    arguments = RunArguments.among(vars(options))
    stop_conditions = arguments.stop_conditions(farm.rank, start_time)
    opened: list[tuple[LoopRequest, RunOutput]] = []

    def check() -> None:
        requests.check_shot_engine(options)
        request, output = loop_request(options), arguments.open_output()
        options.previous = output.load_previous(kind_for(requests.question_for(options)))
        options.known = output.planned_settings()
        opened.append((request, output))

    with abort_on_error(farm), stop_conditions:
        with stop_conditions.before_start(lambda reason: stop_before_start(farm, reason)):
            plans: list[Any] = requests.make_plans(options, reader, farm, check, to_run=True)
        request, output = opened[0] if opened else (LoopRequest(), NoOutput())
        stream = sys.stderr if farm.rank == 0 else None
        how = LoopRun(request, arguments, stop_conditions, stream, output=output)
        plan: Plan | None = plans[0] if plans else None
        found, result = how.on_ranks(session, lambda: plan)
    if result is None:
        return 0
    if options.json:
        of_starts = [float(each.fun) for each in found.starts]
        loop = {**result.provenance["loop"], "start": found.start, "values": of_starts}
        print(json.dumps({**json.loads(result.to_json()), "loop": loop}))
    else:
        print(minimum_text(result))
    return 0


def values_of_loop(options: argparse.Namespace) -> ParameterValues:
    """Return the values of the parameters that are not optimized.

    Raises:
        InputError: If they are wrong, or rows are given.
    """
    values = ParameterValues.of(options, required=False)
    if values.rows is not None:
        raise InputError(
            "parameters: a list of objects, expected one object with the parameters that stay "
            "fixed; --initial takes starting points"
        )
    return values


def loop_request(options: argparse.Namespace) -> LoopRequest:
    """Return what options ask for.

    Raises:
        InputError: If there is no observable, or the file of starting points is wrong.
    """
    if not options.observable and options.observables is None:
        raise InputError("observable: not given, expected --observable or --observables")
    return LoopRequest(
        x0=_starting_points(options.initial),
        optimizer=options.optimizer,
        starts=options.starts,
        max_evaluations=options.max_evaluations,
        tol=options.tolerance,
    )


def _starting_points(initial: str | None) -> Any:
    if initial is None:
        return None
    try:
        return float(initial)
    except ValueError:
        if not os.path.lexists(initial):
            shown = printable_path(initial)
            raise InputError(
                f"initial: {shown!r} is not a file, expected a number or a JSON file of values"
            ) from None
        return read_assignments(initial)
