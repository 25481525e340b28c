"""Identify a run by digests, so that a file is continued only by the run that began it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.core.errors import InputError
from hpcq.core.strict_json import digest
from hpcq.core.system import format_bytes
from hpcq.cutting.subcircuits import CutCircuit

if TYPE_CHECKING:
    from hpcq.planning.plan import Plan

Fingerprint = Mapping[str, str]
"""Parts of a run that must be the same to continue a file, each as a SHA-256 digest or text."""

_CAUSAL_ORDER = (
    *("circuit", "observables", "parameters", "precision", "seed", "noise", "backend"),
    *("shots", "standard_error", "max_variants", "method", "cuts", "slices"),
)
"""Parts of a fingerprint. A part comes before those that may change because of it."""

_CUT_OPTIONS = (
    *("max_qubits", "partition", "cuts", "objective", "search_seconds", "reuse_qubits"),
    *("ranks", "seed"),
)
"""Keys of the configuration that determine the cuts."""

_MEMORY = "memory_bytes"
_FLAGS = {"partition": "cut-labels", "memory_bytes": "memory"}
"""Flags whose names differ from their keys in the configuration."""

_OPTIONS_OF = {"cuts": (*_CUT_OPTIONS, _MEMORY), "slices": (_MEMORY,)}
"""Keys of the configuration that determine the cuts and the slices."""

_MAX_SAVED_OBSERVABLES = 50
"""Number of observables up to which their names are saved for other jobs; more take more space."""

_MAX_NAMED_OBSERVABLES = 3
"""Maximum number of observables that a message names."""


def fingerprint_of(plan: Plan, cut: CutCircuit | None = None) -> dict[str, str]:
    """Return the parts of the fingerprint that all kinds of run have, the cuts if there are any."""
    observables = [
        [each.name, [[list(map(list, term)), coefficient] for term, coefficient in each.terms]]
        for each in plan.observables
    ]
    parts = {"circuit": digest(_content(plan))}
    if cut is not None:
        subcircuits = [subcircuit.content for subcircuit in cut.subcircuits]
        parts["cuts"] = digest([subcircuits, [edge.ends for edge in cut.edges]])
    return {**parts, "observables": digest(observables)}


@dataclass(frozen=True)
class RequestSummary:
    """The observables and options of a run, to explain how it differs from another.

    Attributes:
        observables: Names of the observables, in order; empty if they are not known.
        config: The resolved configuration, or a part of it.
    """

    observables: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan) -> RequestSummary:
        """Return the summary of a plan."""
        return cls(tuple(observable.name for observable in plan.observables), plan.config)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain JSON values of at most a few kilobytes."""
        names = self.observables if len(self.observables) <= _MAX_SAVED_OBSERVABLES else ()
        saved = ("mode", *_CUT_OPTIONS, _MEMORY)
        config = {name: self.config[name] for name in saved if name in self.config}
        return {"observables": list(names), "config": config}

    @classmethod
    def from_json(cls, value: object) -> RequestSummary:
        """Return the summary of JSON values; an empty one if another version wrote them."""
        if not isinstance(value, Mapping) or not isinstance(value.get("config"), Mapping):
            return cls()
        return cls(tuple(map(str, value.get("observables", ()))), value["config"])


_UNKNOWN = RequestSummary()


def check_same_run(
    stored: Fingerprint,
    current: Fingerprint,
    content: str,
    stored_request: RequestSummary | None = None,
    current_request: RequestSummary | None = None,
) -> None:
    """Check that the current run may continue a file with the stored fingerprint.

    The message names the content of the file, such as ``a result``, and what differs between the
    requests, if they are known.

    Raises:
        InputError: If the fingerprints differ. The message names the differences, without those
            that follow from others.
    """
    different = {key for key in {*stored, *current} if stored.get(key) != current.get(key)}
    if not different:
        return
    stored_request, current_request = stored_request or _UNKNOWN, current_request or _UNKNOWN
    changed = _changed_options(stored_request, current_request)
    causes, details = _causes(different, changed), []
    modes = stored_request.config.get("mode"), current_request.config.get("mode")
    if None not in modes and modes[0] != modes[1]:
        causes, details = ["modes"], [f"{modes[0]} there, {modes[1]} here"]
    for cause in causes:
        if cause == "observables":
            names = stored_request.observables, current_request.observables
            details += _different_observables(*names)
        elif cause in ("cuts", "slices"):
            details += [changed[name] for name in _OPTIONS_OF[cause] if name in changed]
        elif all(_is_plain(fingerprint.get(cause)) for fingerprint in (stored, current)):
            details.append(f"{cause} was {stored[cause]} and is {current[cause]}")
    parts = ", ".join(
        "slices, which follow from --memory," * (cause == "slices") or cause for cause in causes
    )
    verb = "differ" if len(causes) > 1 or parts.endswith(("s", ",")) else "differs"
    explanation = f": {'; '.join(details)}" if details else ""
    raise InputError(
        f"output: {content} of another run ({parts} {verb}{explanation}), expected the same run, "
        "or another file"
    )


def _causes(different: set[str], changed: Mapping[str, str]) -> list[str]:
    """Return the parts that differ in causal order, without those that follow from others."""
    ordered = sorted(
        different, key=lambda key: (_CAUSAL_ORDER.index(key) if key in _CAUSAL_ORDER else -1, key)
    )
    if "circuit" in different:
        return [key for key in ordered if key not in ("cuts", "slices")]
    others = different - {"cuts", "slices"}
    options = {name for name in _CUT_OPTIONS if name in changed} - others
    if others and not options:
        # A search finds other cuts for other observables, for example.
        different = different - {"cuts"}
    if len(different) > 1:
        different = different - {"slices"}
    return [key for key in ordered if key in different]


def _changed_options(stored: RequestSummary, current: RequestSummary) -> dict[str, str]:
    """Return a description of each changed option that determines cuts or slices."""
    changed = {}
    for name in (*_CUT_OPTIONS, _MEMORY):
        if name in stored.config and name in current.config:
            was, is_now = stored.config[name], current.config[name]
            option = _FLAGS.get(name, name.replace("_", "-"))
            if was != is_now:
                texts = _shown(name, was), _shown(name, is_now)
                changed[name] = f"--{option} was {texts[0]} and is {texts[1]}"
    return changed


def _shown(name: str, value: Any) -> str:
    if name == _MEMORY:
        return format_bytes(value)
    if isinstance(value, list):
        return "".join(value)[:40]
    return "not given" if value is None else str(value)


def _different_observables(stored: Sequence[str], current: Sequence[str]) -> list[str]:
    """Return descriptions of how observables differ, given their names."""
    if not (stored and current):
        return []
    if stored == current:
        return ["the names are the same, the terms are not"]
    details = []
    for label, asked, other in (("asked for", current, stored), ("there", stored, current)):
        names = [repr(name[:40]) for name in asked if name not in other]
        num_more = len(names) - _MAX_NAMED_OBSERVABLES
        more = f" and {num_more} more" if num_more > 0 else ""
        if names:
            details.append(f"only {label}: {', '.join(names[:_MAX_NAMED_OBSERVABLES])}{more}")
    return details or ["they are the same in another order"]


def _is_plain(value: str | None) -> bool:
    """Return whether a part of a fingerprint is text rather than a digest."""
    return value is not None and len(value) < 64


def _content(plan: Plan) -> list[Any]:
    """Return the circuit's gates as plain values."""
    wire = {qubit: index for index, qubit in enumerate(plan.circuit.qubits)}
    return [
        [gate.operation.name, [wire[q] for q in gate.qubits], [_plain(v) for v in gate.params]]
        for gate in plan.circuit.data
    ]


def _plain(value: object) -> object:
    if isinstance(value, (int, float, str)):
        return value
    if hasattr(value, "parameters"):  # an angle that depends on free parameters
        return str(value)
    return repr(np.asarray(value, dtype=complex).tolist())
