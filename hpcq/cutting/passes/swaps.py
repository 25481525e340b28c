"""Relabel wires instead of swapping qubits, so that swaps need no cut.

The wires of the new circuit are named after the qubits on which they end, so observables keep their
meaning; the qubit on which a wire begins makes no difference, because all begin in |0>.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpcq.cutting.gate_decompositions import pauli_sum
from hpcq.cutting.passes.gate_steps import GateStep, WirePosition, local_steps, matrix_of, unitary

_SWAP = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=complex)


def relabel_swaps(
    steps: Sequence[GateStep], num_qubits: int
) -> tuple[list[GateStep], dict[WirePosition, tuple[int, int]], int]:
    """Replace every gate that is a swap times a gate of smaller dimension by the latter.

    Returns:
        The new steps; for each position of the original circuit its wire and the gate before it;
        and the number of swaps that went.
    """
    wire = list(range(num_qubits))
    wires: dict[WirePosition, tuple[int, int]] = {}
    backwards: list[GateStep] = []
    swapped = 0
    for step in reversed(steps):
        if not step.is_pair:
            backwards.append(GateStep(step.operation, (wire[step.qubits[0]],)))
            continue
        a, b = step.qubits
        for qubit, position in zip(step.qubits, step.ends, strict=True):
            wires[position] = (wire[qubit], step.origin[0])
        simpler = None
        if pauli_sum(step.operation).dimension == 4:
            simpler = unitary(_SWAP @ matrix_of(step.operation))
            terms = pauli_sum(simpler)
        if simpler is None or terms.dimension == 4:
            backwards.append(GateStep(step.operation, (wire[a], wire[b]), step.origin, step.ends))
            continue
        # The state that leaves the gate on a was on b before it.
        wire[a], wire[b] = wire[b], wire[a]
        swapped += 1
        # The positions behind the gate are on swapped wires.
        core = GateStep(simpler, (wire[a], wire[b]), step.origin, (step.ends[1], step.ends[0]))
        if terms.dimension == 1:
            backwards += reversed(local_steps(core, terms))
        else:
            backwards.append(core)
    return backwards[::-1], wires, swapped
