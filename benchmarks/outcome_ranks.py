"""A million samples of a cut circuit on one rank and on two.

    python benchmarks/outcome_ranks.py [--json OUT.json]

It starts MPI jobs of both sizes in turn, with one thread per rank, and compares the wall times of
the fastest ones, so as many cores must be idle. All samples must be the same bit for bit.
"""

from __future__ import annotations

import hashlib
import sys
import time
from typing import Any

from outcome_cases import CASES, MANY
from outcome_methods import fresh_plan
from two_ranks import compare

import hpcq

_CASE = "100-qubits"


def on_this_job(shots: int = MANY) -> dict[str, Any] | None:
    """Draw samples on all ranks of this job; return rank 0's report, None on the others."""
    case = next(each for each in CASES if each.name == _CASE)
    with hpcq.Session() as session:
        if session.rank > 0:
            return None
        found = hpcq.outcomes(fresh_plan(case))
        found.sample(1)  # ranks import what they need
        start = time.perf_counter()
        samples = found.sample(shots)
        taken = time.perf_counter() - start
    digest = hashlib.sha256(samples.packed.tobytes() + samples.probabilities.tobytes())
    return {"seconds": taken, "digest": digest.hexdigest()}


if __name__ == "__main__":
    names = {"seconds": f"{MANY} samples"}
    sys.exit(compare(__file__, __doc__, on_this_job, _CASE, names))
