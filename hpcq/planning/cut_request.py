"""Where a plan is to cut: given cuts, or the limits of a search for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from hpcq.circuits.loader_errors import one_line
from hpcq.core.errors import InputError
from hpcq.core.files import printable_path
from hpcq.core.limits import as_integer, as_seconds
from hpcq.cutting.cuts import Cuts, cuts_from_partition, read_cuts, split_labels
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.planning.problem import Problem
from hpcq.planning.search.objective import ObjectiveName

DEFAULT_SEARCH_SECONDS = 3.0
"""Default budget of a search, in seconds."""

_MAX_SEARCH = 1e6
"""Maximum budget of a search in seconds: twelve days."""


@dataclass(frozen=True, eq=False)
class CutRequest:
    """Where to cut; at most one of the first three is given, and with none nothing is cut.

    Attributes:
        max_qubits: Maximum number of qubits of a subcircuit; cuts are searched for.
        cut_labels: One label for each qubit; every gate between different labels is cut.
        cuts: Explicit cuts: an object, its JSON as text or mapping, or the path of such a file.
        objective: What a search minimises; None for the default of the kind of run.
        search_seconds: About how long to search.
        reuse_qubits: Whether a device can measure a qubit, reset it and use it again.
        ranks: Number of ranks that share the run.
        seed: Seed of the search.

    Raises:
        InputError: If a value is invalid.
    """

    max_qubits: int | None = None
    cut_labels: Any = None
    cuts: Any = None
    objective: ObjectiveName | None = None
    search_seconds: float = DEFAULT_SEARCH_SECONDS
    reuse_qubits: bool = False
    ranks: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        alternatives = ("max_qubits", "cut_labels", "cuts")
        given_names = [name for name in alternatives if getattr(self, name) is not None]
        if len(given_names) > 1:
            names = " and ".join(given_names)
            raise InputError(f"{names}: given together, expected at most one of them")
        checked: dict[str, Any] = {}
        if self.max_qubits is not None:
            checked["max_qubits"] = as_integer(self.max_qubits, "max_qubits", 1)
        labels = self.cut_labels
        if labels is not None and not isinstance(labels, Sequence):
            raise InputError(f"cut_labels: {_shown(labels)}, expected one label for each qubit")
        if isinstance(labels, str):
            checked["cut_labels"] = split_labels(labels, "cut_labels")
        checked["seed"] = as_integer(self.seed, "seed", 0)
        checked["ranks"] = as_integer(self.ranks, "ranks", 1)
        if self.objective is not None and self.objective not in get_args(ObjectiveName):
            raise InputError(f"objective: {_shown(self.objective)}, expected seconds or overhead")
        checked["search_seconds"] = as_seconds(self.search_seconds, "search_seconds", _MAX_SEARCH)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def says_where_to_cut(self) -> bool:
        """Whether there are cuts, or limits of a search for them."""
        given = (self.max_qubits, self.cut_labels, self.cuts)
        return any(value is not None for value in given)

    def with_objective(self, default: ObjectiveName) -> CutRequest:
        """Return the request with an objective: the one that was given, or this default."""
        return self if self.objective is not None else replace(self, objective=default)

    def config(self) -> dict[str, Any]:
        """Return the request as plain JSON values, for the configuration."""
        labels = self.cut_labels
        return {
            "max_qubits": self.max_qubits,
            "partition": labels if labels is None else [str(label) for label in labels],
            "cuts": "given" if self.cuts is not None else None,
            "objective": self.objective,
            "search_seconds": self.search_seconds,
            "reuse_qubits": self.reuse_qubits,
            "ranks": self.ranks,
            "seed": self.seed,
        }

    def given_cuts(self, problem: Problem) -> tuple[SimplifiedCircuit, Cuts]:
        """Return the simplified circuit and its cuts, if they need no search.

        Raises:
            InputError: If the cuts or labels do not fit the circuit.
        """
        circuit = problem.circuit
        if self.cut_labels is not None:
            cuts = cuts_from_partition(circuit, self.cut_labels, "cut_labels")
            return problem.simplifier.unchanged, cuts
        if self.cuts is None:
            return problem.simplifier.unchanged, Cuts()
        given = _as_cuts(self.cuts)
        given.check(circuit, _source_of(self.cuts))
        simplified = _simplified_for(given, problem)
        cuts = simplified.from_original(given)
        if given.cones and len(given.cones) != simplified.num_cones:
            note = (
                f"cuts: found for {len(given.cones)} light cones, but these observables have "
                f"{simplified.num_cones}, so every cut applies to all of them"
            )
            simplified = replace(simplified, effects=(*simplified.effects, note))
        return simplified, cuts


def _simplified_for(cuts: Cuts, problem: Problem) -> SimplifiedCircuit:
    """Return the circuit after the passes that were applied when the cuts were found."""
    if not cuts.simplified:
        return problem.simplifier.unchanged
    separate = problem.simplifier.separate_cones if cuts.cones else None
    return separate or problem.simplifier.joint_cone


def _as_cuts(cuts: object) -> Cuts:
    if isinstance(cuts, Cuts):
        return cuts
    if isinstance(cuts, Mapping):
        return Cuts.from_json(json.dumps(cuts))
    if isinstance(cuts, str) and cuts.lstrip().startswith("{"):
        return Cuts.from_json(cuts)
    if isinstance(cuts, (str, Path)):
        return read_cuts(Path(cuts))
    raise InputError(f"cuts: {_shown(cuts)}, expected Cuts, their JSON, or the path of its file")


def _source_of(cuts: object) -> str:
    """Return the name of cuts in messages: that of their file, if there is one."""
    is_json = isinstance(cuts, str) and cuts.lstrip().startswith("{")
    return printable_path(cuts) if isinstance(cuts, (str, Path)) and not is_json else "cuts"


def _shown(value: object) -> str:
    return one_line(repr(value), 60)
