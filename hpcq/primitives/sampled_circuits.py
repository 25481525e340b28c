"""Samples of circuits, whose cuts are kept by the structure of the circuits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import Parameter

from hpcq.circuits.assignment import with_values
from hpcq.circuits.measurements import Measurements, measurements_of
from hpcq.circuits.normalise import normalise
from hpcq.circuits.packed_bits import pack_bits, unpack_bits
from hpcq.core.errors import InputError
from hpcq.core.seeds import sub_seed
from hpcq.cutting.cuts import Cuts
from hpcq.planning.outcome_plan import OutcomesPlan
from hpcq.planning.outcome_planner import plan_outcomes
from hpcq.primitives.sampler_options import SamplerOptions
from hpcq.primitives.structure import Structure, structure_of

_MAX_KEPT = 256
"""Maximum number of structures whose cuts are kept, a few kilobytes each. Smaller: algorithms with
many circuits search for the cuts of each of them again."""

Packed = NDArray[np.uint8]


class SampledCircuits:
    """Samples of circuits, with the cuts of the structures that were used most recently.

    The simulated states of the latest circuit are kept too, for more samples of the same one.

    Args:
        options: The options of the sampler.
    """

    def __init__(self, options: SamplerOptions) -> None:
        self._options = options
        self._planners: OrderedDict[Hashable, _Planner] = OrderedDict()
        self._latest: tuple[Hashable, OutcomesPlan] | None = None
        self._num_sampled = 0

    def samples(
        self, circuit: QuantumCircuit, rows: NDArray[np.float64], shots: int
    ) -> Iterator[list[tuple[str, Packed]]]:
        """Yield the samples at each row of values of a circuit's parameters.

        Args:
            circuit: The circuit.
            rows: Values in the order of its parameters, shape (rows, parameters).
            shots: Number of samples of each row.

        Yields:
            The classical registers that are measured, each with its name and its bits, shape
            (shots, bytes), packed as in Qiskit's ``BitArray``.

        Raises:
            InputError: If the circuit cannot be sampled.
        """
        normalised = normalise(circuit, free_parameters=True)
        measurements = measurements_of(normalised)
        if measurements.are_implied:  # Qiskit measures nothing that the circuit does not
            yield from ([] for _ in rows)
            return
        parameters = circuit.parameters
        structure = structure_of(normalised)
        for row in rows:
            plan = self._plan(structure, measurements, parameters, row)
            seed = sub_seed(self._options.seed, self._num_sampled)
            self._num_sampled += 1
            result = self._options.run(plan.asking({"seed": seed}, shots=shots))
            assert result.outcomes is not None, "samples were asked for"
            drawn = result.outcomes.samples
            assert drawn is not None, "samples were asked for"
            bits = unpack_bits(drawn.packed, drawn.measurements.num_bits)
            yield [
                (register.name, pack_bits(of_register))
                for register, of_register in measurements.register_bits(bits)
            ]

    def _plan(
        self,
        structure: Structure,
        measurements: Measurements,
        parameters: Sequence[Parameter],
        row: NDArray[np.float64],
    ) -> OutcomesPlan:
        """Return the plan of a circuit, whose measured qubits become one register."""
        values = row if structure.angles is None else structure.angles
        key = structure.key, measurements.qubits
        if self._latest is None or self._latest[0] != (key, values.tobytes()):
            self._latest = None  # its states need not be kept beside those of the next one
            circuit = _at(structure, parameters, values)
            register = ClassicalRegister(len(measurements.qubits))
            circuit.add_register(register)
            circuit.measure(measurements.qubits, register)
            planner = self._planners.setdefault(key, _Planner(self._options.planning))
            self._planners.move_to_end(key)
            while len(self._planners) > _MAX_KEPT:
                self._planners.popitem(last=False)
            self._latest = (key, values.tobytes()), planner.plan(circuit)
        return self._latest[1]


def _at(
    structure: Structure, parameters: Sequence[Parameter], values: NDArray[np.float64]
) -> QuantumCircuit:
    """Return the normalised circuit of a structure with its values."""
    if structure.is_bound:
        return structure.at(values)
    given = dict(zip(parameters, values.tolist(), strict=True))
    return with_values(structure.source, given, "parameter_values")


@dataclass(frozen=True, eq=False)
class _KeptCuts:
    """Cuts of an earlier circuit.

    Attributes:
        cuts: The cuts.
        width: Number of qubits of the widest subcircuit.
    """

    cuts: Cuts
    width: int


class _Planner:
    """Plans circuits of one structure, all cut at the same places.

    Args:
        options: Options of :func:`hpcq.plan_outcomes`.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._kept: _KeptCuts | None = None

    def plan(self, circuit: QuantumCircuit) -> OutcomesPlan:
        """Return the plan of a circuit.

        Raises:
            InputError: If it cannot be planned.
        """
        if self._kept is not None:
            kept = {
                **self._options,
                "cuts": self._kept.cuts,
                "max_qubits": None,
                "cut_labels": None,
            }
            try:
                plan = plan_outcomes(circuit, **kept)
            except InputError:  # the cuts suited other angles only
                pass
            else:
                if _width(plan) <= self._kept.width:
                    return plan
        plan = plan_outcomes(circuit, **self._options)
        # Other methods depend on the angles, and without cuts nothing was searched for.
        is_cut = bool(plan.cuts.gates or plan.cuts.wires) and not plan.methods_of_parts
        self._kept = _KeptCuts(plan.cuts, _width(plan)) if is_cut else None
        return plan


def _width(plan: OutcomesPlan) -> int:
    return max((each.num_qubits for each in plan.cut.subcircuits), default=0)
