"""The details of a result: everything from which its values can be computed again."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.observables import Observable
from hpcq.circuits.pauli_text import PauliString
from hpcq.circuits.port_markers import PORT_MARKERS
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subcircuits import Edge, Port, Subcircuit
from hpcq.results import hdf5_codecs as codecs
from hpcq.results.hdf5_fields import Codec, Layout, Place, computed, derived, stored, stored_class
from hpcq.results.loop_record import LoopRecord
from hpcq.results.progress import PartialProgress
from hpcq.results.sampling_record import SamplingRecord

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


T = TypeVar("T")

_PORT_FIELDS = {"shared_with": "twin", "twin": "shared_with"}
"""The field of a port that has another name in files, and the reverse."""


def _renamed(content: dict[str, Any]) -> dict[str, Any]:
    return {_PORT_FIELDS.get(name, name): value for name, value in content.items()}


def _port(content: dict[str, Any]) -> Port:
    """Return a port that was read from JSON; raise ValueError if no circuit has such a port."""
    port = Port(**_renamed(content))
    integers = (port.wire, port.dimension, port.shared_with or 0)
    if port.kind not in PORT_MARKERS or not all(type(number) is int for number in integers):
        raise ValueError(f"a port is {str(content)[:40]}")
    if port.dimension not in (2, 4):
        raise ValueError(f"a port's dimension is {port.dimension}, expected 2 or 4")
    return port


def _edges_text(edges: tuple[Edge, ...]) -> str:
    contents = [asdict(edge) for edge in edges]
    for content in contents:
        content["weights"] = [[w.real, w.imag] for w in map(complex, content["weights"])]
    return json.dumps(contents)


def _edge(content: dict[str, Any]) -> Edge:
    first, second = map(tuple, content["ends"])
    weights = tuple(complex(real, imag) for real, imag in content["weights"])
    return Edge((first, second), weights, content["sampling_overhead"], content["cut"])


_ON_ALL = codecs.paulis(lambda at: at.circuit.num_qubits)
_ON_WIRES = codecs.paulis(lambda at: at.subcircuits[at.index].num_qubits)
_OBSERVABLE = Layout(
    Observable,
    name=stored("@name", codecs.TEXT),
    paulis=stored("paulis", _ON_ALL, lambda at: [pauli for pauli, _ in at.terms]),
    coefficients=stored("coefficients", codecs.numbers("f"), lambda at: [c for _, c in at.terms]),
    terms=computed(lambda at: tuple(zip(at.paulis, at.coefficients.tolist(), strict=True))),
    cones=derived("cones", lambda at: np.array([at.cone_of.get(p, 0) for p, _ in at.terms])),
)
_PORTS = codecs.as_text(
    lambda ports: json.dumps([_renamed(asdict(port)) for port in ports]),
    lambda text: tuple(map(_port, json.loads(text))),
)
_EDGES = codecs.as_text(_edges_text, lambda text: tuple(map(_edge, json.loads(text))))
_SUBCIRCUIT = Layout(
    Subcircuit,
    circuit=stored(
        "qpy",
        codecs.CIRCUIT,
        check=lambda circuit, at: (
            f"{at.group.name} has free parameters" if circuit.parameters else ""
        ),
    ),
    qubits=stored("@qubits", codecs.INTEGERS),
    ports=stored("@ports", _PORTS),
    cone=stored("@cone", codecs.INTEGER, default=0),
    num_qubits=derived("@num_qubits"),
)


def _cone_of(at: Place) -> dict[PauliString, int]:
    """Return the number of every term's light cone; empty if the file does not contain them."""
    groups = [at.group[f"observables/{number}"] for number in range(len(at.observables))]
    return {
        pauli: int(cone)
        for group, observable in zip(groups, at.observables, strict=True)
        if "cones" in group
        for (pauli, _), cone in zip(observable.terms, group["cones"][()], strict=True)
    }


def _tensor_shape(at: Place) -> tuple[int, int, int]:
    dimension = at.subcircuits[at.index].tensor_dimension
    return len(at.strings[at.index]), dimension, dimension


class _Sections(Codec):
    """Further data of each kind of run, each in a group; groups of unknown kinds are not read."""

    layouts: ClassVar[dict[type, tuple[str, Layout]]] = {}

    def write(self, value: tuple[Any, ...], at: Place) -> None:
        for section in value:
            group, layout = self.layouts[type(section)]
            layout.write(section, replace(at, path=group))

    def read(self, at: Place) -> tuple[Any, ...]:
        places = [(layout, replace(at, path=group)) for group, layout in self.layouts.values()]
        return tuple(layout.read(place) for layout, place in places if place.is_taken)


SECTIONS = _Sections()


def register_section(group: str, owner: type) -> None:
    """Register a class with stored fields: its objects are sections of files, in this group."""
    SECTIONS.layouts[owner] = group, Layout(owner)


register_section("sampling", SamplingRecord)
register_section("loop", LoopRecord)


@stored_class
class ResultDetails:
    """Everything from which the values of a result can be computed again.

    Attributes:
        circuit: The normalised circuit.
        cuts: The cuts of the circuit.
        observables: The observables that were asked for.
        cone_of: Number of each term's light cone; 0 for terms that are not contained.
        subcircuits: The subcircuits, of all light cones.
        edges: The cuts as pairs of ports, with their weights.
        strings: For each subcircuit, the Pauli strings of its tensor, on its own wires.
        tensors: For each subcircuit, its tensor, shape (strings, D, D) with D the product of the
            ports' dimensions; equal subcircuits share one array. None if a run with shots has not
            estimated it.
        sections: Further data of this kind of run: at most one object of each class that
            :func:`register_section` has registered.
        fingerprint: Digests and words that name the run; only the same run can resume it.
        unfinished: Finished tasks of a run that was stopped; None for a complete run.
        timelines: For each start of the run, an array, shape (spans, 5): rank, begin and end in
            seconds, number of tasks, and the subcircuit of the first task.
    """

    circuit: QuantumCircuit = stored("circuit", codecs.CIRCUIT)
    cuts: Cuts = stored("cuts", codecs.as_text(Cuts.to_json, Cuts.from_json))
    observables: tuple[Observable, ...] = stored("observables/*", _OBSERVABLE)
    cone_of: Mapping[PauliString, int] = computed(_cone_of)
    subcircuits: tuple[Subcircuit, ...] = stored("subcircuits/*", _SUBCIRCUIT, default=())
    edges: tuple[Edge, ...] = stored("edges", _EDGES, default=())
    strings: tuple[tuple[PauliString, ...], ...] = stored(
        "subcircuits/*/strings", _ON_WIRES, default=()
    )
    tensors: tuple[NDArray[np.complex128] | None, ...] = stored(
        "subcircuits/*/tensor", codecs.numbers("c", _tensor_shape), default=(), gaps=True
    )
    sections: tuple[Any, ...] = stored("", SECTIONS, default=())
    fingerprint: Mapping[str, str] = stored("@identity", codecs.FINGERPRINT, default_factory=dict)
    unfinished: PartialProgress | None = stored("unfinished", Layout(PartialProgress), default=None)
    timelines: tuple[NDArray[np.float64], ...] = stored(
        "timelines/*", codecs.numbers("f", lambda _: (None, 5)), default=()
    )

    def section(self, kind: type[T]) -> T | None:
        """Return the section of a class; None if there is none."""
        return next((part for part in self.sections if isinstance(part, kind)), None)

    @property
    def record(self) -> SamplingRecord | None:
        """The record of a run with shots; None for other runs."""
        return self.section(SamplingRecord)

    @property
    def identity(self) -> Mapping[str, str]:
        """Old name of :attr:`fingerprint`."""
        warnings.warn(
            "identity of a result's details is now fingerprint", DeprecationWarning, stacklevel=2
        )
        return self.fingerprint


DETAILS = Layout(
    ResultDetails,
    num_qubits=derived("circuit@num_qubits", lambda at: at.circuit.num_qubits),
    sha256=derived(
        "circuit@sha256", lambda at: hashlib.sha256(at.group["circuit"][()]).hexdigest()
    ),
    timeline_columns=derived(
        "timelines/*@columns",
        lambda at: [["rank", "begin", "end", "tasks", "owner"] for _ in at.timelines],
    ),
)
