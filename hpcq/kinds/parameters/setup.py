"""All that a rank needs to evaluate a program, as rank 0 sends it to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from hpcq.core.limits import Limits
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.protocol import Engine
from hpcq.engines.requests import Operator
from hpcq.kinds.parameters.operator_table import OperatorTable
from hpcq.kinds.parameters.pieces import Piece
from hpcq.planning.exact_plan import ExactPlan
from hpcq.reconstruction.network import Network


@dataclass(frozen=True, eq=False)
class ProgramSetup:
    """What every rank needs to evaluate a program; rank 0 sends it to each of them once.

    Attributes:
        tensors: The distinct tensors.
        uses: For each subcircuit, the index of its tensor.
        cut: The cut circuit.
        network: The network of the tensors.
        table: The observables' terms, as products of operators.
        limits: Memory, threads and number format of a rank.
        num_slots: Number of slots.
    """

    tensors: tuple[ExactTensor, ...]
    uses: tuple[int, ...]
    cut: CutCircuit
    network: Network
    table: OperatorTable
    limits: Limits
    num_slots: int

    @classmethod
    def of(cls, plan: ExactPlan) -> ProgramSetup:
        """Return the set-up of a plan."""
        return cls(
            plan.tensors,
            plan.uses,
            plan.cut,
            plan.network,
            OperatorTable.of(plan.terms),
            plan.limits,
            0 if plan.slots is None else plan.slots.num_slots,
        )

    @cached_property
    def operators(self) -> tuple[tuple[Operator, ...], ...]:
        """For each of ``tensors``, the distinct operators of all its uses."""
        known: list[dict[Operator, None]] = [{} for _ in self.tensors]
        for use, operators in zip(self.uses, self.table.operators, strict=True):
            known[use].update(dict.fromkeys(operators))
        return tuple(map(tuple, known))

    def piece(self, number: int, engines: Sequence[Engine]) -> Piece:
        """Return one of the pieces, prepared by the quickest of some engines.

        Raises:
            InputError: If all of them refuse.
        """
        name = f"subcircuit {self.uses.index(number)}"
        return Piece(self.tensors[number], self.operators[number], self.limits, engines, name)

    def shape(self, number: int) -> tuple[int, int, int]:
        """Return the shape of a piece's tensors at one row: (operators, D, D)."""
        tensor = self.tensors[number]
        size = tensor.num_branches * tensor.block_shape[1]
        return len(self.operators[number]), size, size
