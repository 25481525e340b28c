"""Many runs with shots of one circuit: ``python coverage.py coverage|allocation CASE RUNS``.

Whether error bars are right, and what adaptive rounds save, takes thousands of runs; see
``exact_device.py``. The last line on stdout is a JSON object.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import numpy as np
from exact_device import ExactDevice
from qiskit.quantum_info import Statevector
from shot_cases import ALLOCATION, COVERAGE, Case

from hpcq.kinds.shots.rounds import make_schedule
from hpcq.kinds.shots.sampling import Sampling
from hpcq.reconstruction.estimation.allocation import even_allocation
from hpcq.reconstruction.estimation.estimator import Estimator, ShotRound
from hpcq.reconstruction.estimation.outcome_signals import first_inversions
from hpcq.reconstruction.estimation.variant_batches import VariantBatch

Report = dict[str, Any]


def truth_of(case: Case, sampling: Sampling, device: ExactDevice) -> float:
    """Return the value to which the mean of all runs should converge.

    Without noise it is the uncut circuit's; with noise, what the exact distributions contract to.
    """
    if not case.noisy:
        return float(Statevector(case.circuit).expectation_value(case.observable()).real)
    inversions = tuple(first_inversions(tensor) for tensor in sampling.sources.tensors)
    measured = ShotRound(1.0, inversions, device.exact())
    return float(Estimator(sampling.sources, sampling.reconstruction, [measured]).values()[0])


def adaptive(sampling: Sampling, device: ExactDevice, run: int) -> tuple[float, float, int]:
    """Run as hpcq does, and return value, standard error and shots."""
    rng = np.random.default_rng([0, run])
    schedule = make_schedule(sampling, run)
    while (planned := schedule.next_round()) is not None:
        schedule.add(planned, device.measure(planned.batches, rng))
    return float(schedule.values()[0]), float(schedule.errors[0]), schedule.shots


def uniform(sampling: Sampling, device: ExactDevice, run: int) -> float:
    """Run one round with shots spread evenly over all variants, and return the value."""
    tensors = sampling.sources.tensors
    inversions = tuple(first_inversions(tensor) for tensor in tensors)
    estimator = Estimator(sampling.sources, sampling.reconstruction)
    needed = [
        reader.used(source_inversions) & reader.informative
        for reader, source_inversions in zip(estimator.readers, inversions, strict=True)
    ]
    shots = even_allocation(np.concatenate(needed), sampling.budget.shots)
    ends = np.cumsum([tensor.num_variants for tensor in tensors])[:-1]
    batches = [
        VariantBatch.of_all(tensor, source_shots)
        for tensor, source_shots in zip(tensors, np.split(shots, ends), strict=True)
    ]
    counts = device.measure(batches, np.random.default_rng([1, run]))
    estimator.add(ShotRound(1.0, inversions, tuple(counts)))
    return float(estimator.values()[0])


def coverage(case: Case, runs: int) -> Report:
    """Compare the errors that runs report with their true errors."""
    sampling = case.sampling()
    device = ExactDevice.of(sampling, noisy=case.noisy)
    truth = truth_of(case, sampling, device)
    adaptive_runs = np.array([adaptive(sampling, device, run) for run in range(runs)])
    off, errors = adaptive_runs[:, 0] - truth, adaptive_runs[:, 1]
    sigmas = np.abs(off / errors)
    made = float(np.sqrt(np.mean(off**2)))
    target_error = sampling.budget.target_error
    return described(sampling) | {
        "truth": truth,
        "kind": case.kind,
        "shots": float(adaptive_runs[:, 2].mean()),
        "rms_error": made,
        "mean_square": float(np.mean(sigmas**2)),
        "beyond_3": float(np.mean(sigmas > 3)),
        "beyond_5": float(np.mean(sigmas > 5)),
        "median_ratio": float(np.median(errors) / made),
        "bias": float(off.mean() / (off.std(ddof=1) / runs**0.5)),
        "over_precision": None if target_error is None else made / target_error,
    }


def allocation(case: Case, runs: int) -> Report:
    """Compare the variances of adaptive and of evenly spread shots, at equal numbers."""
    sampling = case.sampling()
    device = ExactDevice.of(sampling, noisy=case.noisy)
    adaptive_runs = np.array([adaptive(sampling, device, run) for run in range(runs)])
    even = np.array([uniform(sampling, device, run) for run in range(runs)])
    ratio = float(even.var(ddof=1) / adaptive_runs[:, 0].var(ddof=1))
    return described(sampling) | {
        "unequal": case.unequal,
        "shots": float(adaptive_runs[:, 2].mean()),
        "spread": float(adaptive_runs[:, 0].std(ddof=1)),
        "uniform_spread": float(even.std(ddof=1)),
        "ratio": ratio,
        "ratio_error": ratio * 2 / runs**0.5,
    }


def described(sampling: Sampling) -> Report:
    tensors = sampling.sources.tensors
    return {
        "mode": sampling.mode
        + (", few settings" if any(tensor.lean for tensor in tensors) else ""),
        "variants": [tensor.num_variants for tensor in tensors],
        "ports": [[f"{port.kind} {port.dimension}" for port in tensor.ports] for tensor in tensors],
        "budget": asdict(sampling.budget),
    }


METHODS = {"coverage": (coverage, COVERAGE), "allocation": (allocation, ALLOCATION)}

if __name__ == "__main__":
    measure, cases = METHODS[sys.argv[1]]
    print(json.dumps(measure(cases[sys.argv[2]], int(sys.argv[3]))))
