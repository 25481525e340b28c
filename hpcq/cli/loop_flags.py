"""The flags of `minimize`."""

from __future__ import annotations

import argparse

from hpcq.cli import option_values as values
from hpcq.cli.run_flags import add_device, add_long_runs, add_plan_options, add_shot_engine


def add_minimize_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `minimize`, which `submit -- minimize` has too."""
    add_plan_options(parser)
    loop = parser.add_argument_group("optimizer")
    loop.add_argument(
        "--optimizer",
        metavar="NAME",
        help="L-BFGS-B, BFGS, CG, SLSQP, TNC, trust-constr or Newton-CG, with exact gradients; "
        "COBYLA, COBYQA, Nelder-Mead, Powell or SPSA, without; default: L-BFGS-B, with shots SPSA",
    )
    loop.add_argument(
        "--initial",
        metavar="FILE.json|VALUE",
        help="starting point: values by name as for --parameters, or a number for all parameters; "
        "a list of such objects for several starts; default: random, by --seed",
    )
    loop.add_argument(
        "--starts",
        type=values.positive,
        default=1,
        metavar="K",
        help="number of starting points, shared among the ranks; the best minimum is reported; "
        "points that --initial does not give are random; default: 1",
    )
    loop.add_argument(
        "--max-evaluations",
        type=values.positive,
        metavar="N",
        help="maximum number of evaluations of each start; a larger one continues OUT.h5",
    )
    loop.add_argument(
        "--tolerance",
        type=values.tolerance,
        metavar="TOL",
        help="tolerance for termination, as scipy's tol; default: the optimizer's own",
    )
    parser.add_argument("-o", "--output", metavar="OUT.h5", help="HDF5 file to write and resume")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_device(parser)
    add_shot_engine(parser)
    add_long_runs(parser)
