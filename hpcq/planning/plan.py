"""Plans: the parts that plans of all kinds have."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.observables import Observable
from hpcq.circuits.pauli_text import PauliString
from hpcq.circuits.slots import ParametrisedCircuit, Slots
from hpcq.core.limits import Limits
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.planning import kind_registry
from hpcq.planning.cost import Cost
from hpcq.planning.search.lower_bound import LowerBound

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


class CompiledPlan(Protocol):
    """A program: a plan that is ready to be evaluated at rows of its free parameters.

    Attributes:
        plan: The plan.
    """

    plan: Plan

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the columns of their values."""
        return self.plan.parameters

    @property
    def num_parameters(self) -> int:
        """Number of parameters."""
        return len(self.parameters)

    def __repr__(self) -> str:
        counts = {
            "parameters": self.num_parameters,
            "observables": len(self.plan.observables),
            "subcircuits": self.plan.num_subcircuits,
        }
        text = ", ".join(f"{name}={count}" for name, count in counts.items())
        return f"{type(self).__name__}({text})"

    def values(self, rows: Any) -> NDArray[np.float64]:
        """Return the values of the observables, shape (rows, observables)."""

    def values_and_gradients(self, rows: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return values, and derivatives of shape (rows, observables, parameters)."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How a run will answer a question about a circuit, and at what cost.

    Print a plan to see its subcircuits and its cost.

    Attributes:
        circuit: The normalised circuit: unitary gates on one or two qubits, those with free
            parameters as Pauli rotations.
        observables: The observables.
        limits: Memory, threads and number format of a rank.
        config: The options of the plan, as plain JSON values; ``mode`` is the kind of the run.
        cost: The predicted cost; None if it is not known before the run. With free parameters it is
            that of one row of their values.
        parametrised: The circuit with its free parameters; None if there are none.
    """

    circuit: QuantumCircuit
    observables: tuple[Observable, ...]
    limits: Limits
    config: Mapping[str, Any]
    cost: Cost | None
    parametrised: ParametrisedCircuit | None = field(default=None, kw_only=True)

    @property
    def slots(self) -> Slots | None:
        """The angles as functions of the free parameters; None if there are none."""
        return None if self.parametrised is None else self.parametrised.slots

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the free parameters, in the order of the columns of their values."""
        return () if self.slots is None else self.slots.names

    def with_threads(self, threads: int) -> Self:
        """Return the same plan for ranks that use this many threads."""
        return replace(self, limits=replace(self.limits, threads=threads))

    def compile(self, session: Any = None, device: str = "cpu") -> CompiledPlan:
        """Return the program of the plan, for loops that evaluate it at many parameters.

        Args:
            session: A :class:`hpcq.Session` whose ranks share long evaluations; by default the
                one that is open, and without one this process computes alone.
            device: ``cpu``, ``gpu`` or ``auto``.

        Returns:
            A :class:`hpcq.Program`; with shots, a program of estimates.

        Raises:
            InputError: If the device is wrong, the plan does not fit into the memory, or its kind
                of run has no programs.
        """
        kind = kind_registry.find_kind(self.config["mode"])
        compiled: CompiledPlan = kind.compile(self, session, device)
        return compiled

    @property
    def predicted_seconds(self) -> float | None:
        """Predicted wall time in seconds, on the number of ranks that the plan is for, if known."""
        return None if self.cost is None else self.cost.predicted_seconds(self.config["ranks"])

    @property
    def cuts(self) -> Cuts:
        """The cuts, as gates and wire positions of the original circuit."""
        return Cuts()

    @property
    def num_subcircuits(self) -> int:
        """Number of subcircuits."""
        return 1

    @property
    def cone_of(self) -> Mapping[PauliString, int]:
        """Number of each term's light cone; 0 for terms that are not contained."""
        return {}

    def __str__(self) -> str:
        text: str = kind_registry.find_kind(self.config["mode"]).describe(self)
        return text


@dataclass(frozen=True, eq=False)
class CutPlan(Plan):
    """A plan that cuts the circuit.

    Attributes:
        simplified: The circuit after all passes, which is the one that is cut.
        cut: The subcircuits and the edges between them.
        bound: A lower bound on the cuts; None where none is known.
    """

    simplified: SimplifiedCircuit
    cut: CutCircuit
    bound: LowerBound | None

    @cached_property
    def cuts(self) -> Cuts:
        """The cuts, as gates and wire positions of the original circuit."""
        return self.simplified.to_original(self.cut.cuts)

    @property
    def engines(self) -> list[str]:
        """Names of the engines of parts that are not simulated as statevectors."""
        return []

    @property
    def cone_of(self) -> Mapping[PauliString, int]:
        """Number of each term's light cone; 0 for terms that are not contained."""
        return self.simplified.cone_of

    @property
    def num_subcircuits(self) -> int:
        """Number of subcircuits."""
        return len(self.cut.subcircuits)

    @property
    def width(self) -> int:
        """Number of qubits of the widest subcircuit."""
        return max((subcircuit.num_qubits for subcircuit in self.cut.subcircuits), default=0)

    @property
    def score(self) -> tuple[float, ...]:
        """Key by which the plans of one search are compared; the smallest is best."""
        seconds = () if self.predicted_seconds is None else (self.predicted_seconds,)
        if self.config["objective"] == "overhead":
            return (round(self.cut.log10_sampling_overhead, 9), *seconds)
        return seconds

    @property
    def reduced(self) -> SimplifiedCircuit:
        """Old name of :attr:`simplified`."""
        warnings.warn("Plan.reduced is now Plan.simplified", DeprecationWarning, stacklevel=2)
        return self.simplified
