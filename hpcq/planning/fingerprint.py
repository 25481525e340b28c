"""What a run is, as digests: a file goes on only with the run that began it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.core.errors import InputError
from hpcq.core.strict_json import digest
from hpcq.core.system import format_bytes
from hpcq.cutting.subcircuits import CutCircuit

if TYPE_CHECKING:
    from hpcq.planning.assembly import Plan

Fingerprint = Mapping[str, str]
"""What must be the same for a run to go on from another: a SHA-256 or plain words for each part."""

_ORDER = (
    *("circuit", "observables", "precision", "seed", "noise", "backend"),
    *("shots", "standard_error", "max_variants", "cuts", "slices"),
)
"""Parts of an identity; what others may follow from comes first."""

_CUT_BY = (
    *("max_qubits", "partition", "cuts", "objective", "search_seconds", "reuse_qubits"),
    *("ranks", "seed"),
)
"""Options that cuts follow from."""

_MEMORY = "memory_bytes"
_FLAGS = {"partition": "cut-labels", "memory_bytes": "memory"}
"""Flags whose names are not those of their keys in a file's configuration."""

_SET_BY = {"cuts": (*_CUT_BY, _MEMORY), "slices": (_MEMORY,)}
_FEW, _SHOWN = 50, 3
"""Observables that are told to other jobs, and that a message names."""


def fingerprint_of(plan: Plan, cut: CutCircuit) -> dict[str, str]:
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


def exact_fingerprint(plan: Plan) -> dict[str, str]:
    """Return what an exact run is known by; its slices follow from the memory of a rank."""
    slices = [[list(tensor.sliced) for tensor in plan.tensors], list(plan.network.sliced)]
    strings = [[list(map(list, own)) for own in tensor.strings] for tensor in plan.tensors]
    return {
        **fingerprint_of(plan, plan.cut),
        "slices": digest([slices, strings]),
        "precision": plan.limits.precision,
    }


@dataclass(frozen=True)
class RequestSummary:
    """What a run was asked for, to say in words how it differs from another.

    Attributes:
        observables: Their names, in order; empty where they are not known.
        config: The resolved configuration, or some of it.
    """

    observables: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def by(cls, plan: Plan) -> RequestSummary:
        """Return what a plan was asked for."""
        return cls(tuple(own.name for own in plan.observables), plan.config)

    def to_json(self) -> dict[str, Any]:
        """Return what is needed of it as plain values, in a few kilobytes at most."""
        few = self.observables if len(self.observables) <= _FEW else ()
        config = {name: self.config[name] for name in (*_CUT_BY, _MEMORY) if name in self.config}
        return {"observables": list(few), "config": config}

    @classmethod
    def from_json(cls, told: object) -> RequestSummary:
        """Read it; nothing is known where another version says it differently."""
        if not isinstance(told, Mapping) or not isinstance(told.get("config"), Mapping):
            return cls()
        return cls(tuple(map(str, told.get("observables", ()))), told["config"])


def check_same_run(
    known: Fingerprint,
    wanted: Fingerprint,
    what: str,
    before: RequestSummary | None = None,
    now: RequestSummary | None = None,
) -> None:
    """Make sure that a run can go on from what a file holds.

    Args:
        known: What the file belongs to.
        wanted: What is to be run.
        what: What the file holds, in words.
        before: What that was asked for.
        now: What is asked for now.

    Raises:
        InputError: If it cannot; with what differs, causes first. What only follows from another
            difference is left out.
    """
    differ = {key for key in {*known, *wanted} if known.get(key) != wanted.get(key)}
    if not differ:
        return
    changed = _changed(before, now)
    causes, details = _causes(differ, changed), []
    modes = _mode(known), _mode(wanted)
    if "" not in modes and modes[0] != modes[1]:
        causes, details = ["modes"], [f"{modes[0]} there, {modes[1]} here"]
    for cause in causes:
        if cause == "observables":
            details += _other_observables(before, now)
        elif cause in ("cuts", "slices"):
            details += [changed[name] for name in _SET_BY[cause] if name in changed]
        elif all(_is_plain(own.get(cause)) for own in (known, wanted)):
            details.append(f"{cause} was {known[cause]} and is {wanted[cause]}")
    words = ", ".join(
        "slices, which follow from --memory," * (own == "slices") or own for own in causes
    )
    verb = "differ" if len(causes) > 1 or words.endswith(("s", ",")) else "differs"
    how = f": {'; '.join(details)}" if details else ""
    raise InputError(
        f"output: {what} of another run ({words} {verb}{how}), expected the same run, or another "
        "file"
    )


def _causes(differ: set[str], changed: Mapping[str, str]) -> list[str]:
    """Return what differs, causes first, without what follows from them."""
    found = sorted(differ, key=lambda own: (_ORDER.index(own) if own in _ORDER else -1, own))
    if "circuit" in differ:
        return [own for own in found if own not in ("cuts", "slices")]
    others = differ - {"cuts", "slices"}
    options = {name for name in _CUT_BY if name in changed} - others
    if others and not options:
        differ = differ - {"cuts"}  # found anew for the other observables, say
    if len(differ) > 1:
        differ = differ - {"slices"}
    return [own for own in found if own in differ]


def _changed(before: RequestSummary | None, now: RequestSummary | None) -> dict[str, str]:
    """Return in words which options changed that cuts and slices follow from."""
    if before is None or now is None:
        return {}
    both = [name for name in (*_CUT_BY, _MEMORY) if name in before.config and name in now.config]
    changed = {}
    for name in both:
        values = [_shown(name, own.config[name]) for own in (before, now)]
        if before.config[name] != now.config[name]:
            option = _FLAGS.get(name, name.replace("_", "-"))
            changed[name] = f"--{option} was {values[0]} and is {values[1]}"
    return changed


def _shown(name: str, value: Any) -> str:
    if name == _MEMORY:
        return format_bytes(value)
    return (
        "".join(value)[:40]
        if isinstance(value, list)
        else "not given" * (value is None) or str(value)
    )


def _other_observables(before: RequestSummary | None, now: RequestSummary | None) -> list[str]:
    """Say which observables changed."""
    if before is None or now is None or not (before.observables and now.observables):
        return []
    if before.observables == now.observables:
        return ["the names are the same, the terms are not"]
    details = []
    for word, some, others in (("asked for", now, before), ("there", before, now)):
        names = [repr(own[:40]) for own in some.observables if own not in others.observables]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        if names:
            details.append(f"only {word}: {', '.join(names[:_SHOWN])}{more}")
    return details or ["they are the same in another order"]


def _mode(fingerprint: Fingerprint) -> str:
    """Return whether it is an exact run or one with shots; empty where nothing says so."""
    return "exact" if "slices" in fingerprint else "shots" if "seed" in fingerprint else ""


def _is_plain(value: str | None) -> bool:
    """Whether a part of an identity is plain words, and no digest."""
    return value is not None and len(value) < 64


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
