"""Swaps become names: a gate that swaps two qubits needs no cut if the wires swap names instead.

The wires of the new circuit are called after the qubits on which they end, so observables mean what
they meant; on which qubit a wire begins makes no difference, because all begin in |0>.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpcq.cutting.gate_decompositions import pauli_sum
from hpcq.cutting.passes.gate_steps import GateStep, Place, local_steps, matrix_of, unitary

_SWAP = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=complex)


def relabel_swaps(
    steps: Sequence[GateStep], num_qubits: int
) -> tuple[list[GateStep], dict[Place, tuple[int, int]], int]:
    """Replace every gate that is a swap times a simpler gate by the simpler gate.

    Args:
        steps: The steps of the given circuit.
        num_qubits: Number of its qubits.

    Returns:
        The new steps; for each place of the given circuit its wire and the gate before it; and how
        many swaps went.
    """
    wire = list(range(num_qubits))
    wires: dict[Place, tuple[int, int]] = {}
    backwards: list[GateStep] = []
    swapped = 0
    for step in reversed(steps):
        if not step.is_pair:
            backwards.append(GateStep(step.operation, (wire[step.qubits[0]],)))
            continue
        a, b = step.qubits
        for qubit, place in zip(step.qubits, step.ends, strict=True):
            wires[place] = (wire[qubit], step.origin[0])
        simpler = None
        if pauli_sum(step.operation).dimension == 4:
            simpler = unitary(_SWAP @ matrix_of(step.operation))
            terms = pauli_sum(simpler)
        if simpler is None or terms.dimension == 4:
            backwards.append(GateStep(step.operation, (wire[a], wire[b]), step.origin, step.ends))
            continue
        # What leaves the gate on a was on b before it.
        wire[a], wire[b] = wire[b], wire[a]
        swapped += 1
        # The places behind the gate are on the other wires than before it.
        core = GateStep(simpler, (wire[a], wire[b]), step.origin, (step.ends[1], step.ends[0]))
        if terms.dimension == 1:
            backwards += reversed(local_steps(core, terms))
        else:
            backwards.append(core)
    return backwards[::-1], wires, swapped
