"""What a run is, as digests: a file goes on only with the run that began it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.cutting.subcircuits import CutCircuit
from hpcq.errors import InputError

if TYPE_CHECKING:
    from hpcq.assembly import Plan

Identity = Mapping[str, str]
"""What must be the same for a run to go on from another: a SHA-256 or plain words for each part."""


_NAMES = {"slices": "slices, which follow from --memory,"}


def identity_of(plan: Plan, cut: CutCircuit) -> dict[str, str]:
    """Return what every run is known by: circuit, cuts and observables."""
    observables = [
        [own.name, [[list(map(list, term)), c] for term, c in own.terms]]
        for own in plan.observables
    ]
    return {
        "circuit": digest(_content(plan)),
        "cuts": digest([[own.content for own in cut.subcircuits], [e.ends for e in cut.edges]]),
        "observables": digest(observables),
    }


def exact_identity(plan: Plan) -> dict[str, str]:
    """Return what an exact run is known by; its slices follow from the memory of a rank."""
    slices = [[list(tensor.sliced) for tensor in plan.tensors], list(plan.network.sliced)]
    strings = [[list(map(list, own)) for own in tensor.strings] for tensor in plan.tensors]
    return {
        **identity_of(plan, plan.cut),
        "slices": digest([slices, strings]),
        "precision": plan.limits.precision,
    }


def check_same(known: Identity, wanted: Identity, what: str) -> None:
    """Make sure that a run can go on from what a file holds.

    Args:
        known: What the file belongs to.
        wanted: What is to be run.
        what: What the file holds, in words.

    Raises:
        InputError: If it cannot; with what differs.
    """
    differ = sorted(key for key in {*known, *wanted} if known.get(key) != wanted.get(key))
    if differ:
        raise InputError(
            f"output: {what} of another run ({', '.join(_NAMES.get(own, own) for own in differ)} "
            "differ), expected the same run, or another file"
        )


def digest(value: object) -> str:
    """Return the SHA-256 of plain JSON values."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _content(plan: Plan) -> list[Any]:
    """Return the circuit's gates as plain values."""
    wire = {qubit: index for index, qubit in enumerate(plan.circuit.qubits)}
    return [
        [own.operation.name, [wire[q] for q in own.qubits], [_plain(v) for v in own.params]]
        for own in plan.circuit.data
    ]


def _plain(value: object) -> object:
    if isinstance(value, (int, float, str)):
        return value
    return repr(np.asarray(value, dtype=complex).tolist())
