"""The record of a run with shots: made of what was measured, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.strict_json import digest
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.engines.shot_engine import ShotEngineSpec
from hpcq.planning.assembly import Plan
from hpcq.planning.fingerprint import fingerprint_of
from hpcq.planning.sampling import Budget, Sampling, enumerated_sampling_of, joint_sampling_of
from hpcq.reconstruction.estimation.estimator import Estimator
from hpcq.results.sampling_record import SamplingRecord


def record_of(
    sampling: Sampling, fingerprint: Mapping[str, str], rounds: Sequence[Any]
) -> SamplingRecord:
    """Return the record of a run."""
    part_of = {k: p for p, group in enumerate(sampling.parts.groups) for k in group}
    uses = sampling.sources.uses
    return SamplingRecord(
        sampling.mode,
        fingerprint,
        sampling.sources.tensors,
        uses,
        tuple(part_of.get(number) for number in range(len(uses))),
        tuple(rounds),
    )


def sampling_again(record: SamplingRecord, plan: Plan, budget: Budget) -> Sampling | None:
    """Return what further shots of the same kind sample; None if nothing can be."""
    if record.mode == "joint":
        return joint_sampling_of(plan.cut_problem, budget)
    lean = any(tensor.lean for tensor in record.sources)
    return enumerated_sampling_of(plan.cut_problem, budget, lean=lean)


def shots_fingerprint(plan: Plan, sampling: Sampling, wanted: ShotEngineSpec) -> dict[str, str]:
    """Return what a run with shots is known by."""
    return {
        **fingerprint_of(plan, sampling.cut),
        "seed": str(plan.config["seed"]),
        "precision": plan.limits.precision,
        "noise": digest(wanted.noise) if wanted.noise else "none",
        "backend": wanted.backend or "aer",
    }


def full_tensor(tensor: SampledTensor, found: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return a tensor as exact runs have it: shape (strings, D, D), twins with their own index."""
    ports = tensor.subcircuit.ports
    place = {number: i for i, number in enumerate(tensor.port_numbers)}
    sizes = [port.dimension for port in tensor.ports]
    split = found.reshape(len(found), *(d for size in sizes for d in (size, size)))
    kets = [1 + 2 * i for i in range(len(sizes))]
    matrix = split.transpose(0, *kets, *(1 + k for k in kets))
    matrix = matrix.reshape(len(found), int(np.prod(sizes)), -1)
    index = np.indices([port.dimension for port in ports], sparse=True)
    digits: list[Any] = [index[number] for number in tensor.port_numbers]
    for number, port in enumerate(ports):
        if port.shared_with is not None:
            digits[place[port.shared_with]] = digits[place[port.shared_with]] ^ index[number]
    rows = np.zeros([port.dimension for port in ports], dtype=np.intp)
    for digit, size in zip(digits, sizes, strict=True):
        rows = rows * size + digit
    flat = rows.reshape(-1)
    return matrix[:, flat[:, None], flat]


def tensors_of(
    sampling: Sampling, rounds: Sequence[Any]
) -> tuple[NDArray[np.complex128] | None, ...]:
    """Return every subcircuit's estimated tensor; None where there is none."""
    if sampling.mode == "joint" or sampling.reconstruction is None:
        return tuple(None for _ in sampling.cut.subcircuits)
    estimator = Estimator(sampling.sources, sampling.reconstruction, list(rounds))
    own = [
        full_tensor(tensor, found)
        for tensor, found in zip(sampling.sources.tensors, estimator.tensors(), strict=True)
    ]
    return tuple(
        None if use is None else own[use][places]
        for use, places in zip(sampling.sources.uses, sampling.sources.string_indices, strict=True)
    )
