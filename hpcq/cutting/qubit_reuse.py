"""How many qubits a device needs that can measure a qubit, reset it and use it again."""

from __future__ import annotations

from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.cut_circuit import gates_of_pieces
from hpcq.cutting.cuts import Cuts


def device_qubits(analysis: CircuitAnalysis, cuts: Cuts) -> list[int]:
    """Return for each subcircuit a number of qubits that is enough with reuse.

    A wire occupies a qubit from its first gate on until its last. Which wires go first is chosen
    greedily, the wire that needs the fewest new ones (the idea of DeCross et al., Phys. Rev. X 13,
    041057 (2023)), so a smaller number may be possible.
    """
    return [_enough(wires, gates) for wires, gates in gates_of_pieces(analysis, cuts)]


def _enough(wires: int, gates: list[tuple[int, int]]) -> int:
    # The wires that must have begun before a wire can end, as bits.
    needs = [1 << wire for wire in range(wires)]
    for a, b in gates:
        needs[a] = needs[b] = needs[a] | needs[b]
    begun, live, most = 0, 0, 0
    waiting = set(range(wires))
    while waiting:
        nearest = min(waiting, key=lambda wire: ((needs[wire] & ~begun).bit_count(), wire))
        new = needs[nearest] & ~begun
        begun |= new
        live += new.bit_count()
        most = max(most, live)
        ended = {wire for wire in waiting if not needs[wire] & ~begun}
        live -= len(ended)
        waiting -= ended
    return most
