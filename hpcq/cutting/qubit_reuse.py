"""Count the qubits that a subcircuit needs on a device that can reset and reuse qubits."""

from __future__ import annotations

from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.cut_circuit import subcircuit_gates
from hpcq.cutting.cuts import Cuts


def device_qubits(analysis: CircuitAnalysis, cuts: Cuts) -> list[int]:
    """Return for each subcircuit a number of qubits that suffices with reuse.

    A wire occupies a qubit from its first gate to its last. The order of the wires is chosen
    greedily: next comes the wire that needs the fewest new ones (the idea of DeCross et al., Phys.
    Rev. X 13, 041057 (2023)). So a smaller number may be possible.
    """
    return [_qubits_needed(wires, gates) for wires, gates in subcircuit_gates(analysis, cuts)]


def _qubits_needed(wires: int, gates: list[tuple[int, int]]) -> int:
    # For each wire the wires that must have begun before it can end, as a bit mask.
    needs = [1 << wire for wire in range(wires)]
    for a, b in gates:
        needs[a] = needs[b] = needs[a] | needs[b]
    begun, live, needed = 0, 0, 0
    waiting = set(range(wires))
    while waiting:
        next_wire = min(waiting, key=lambda wire: ((needs[wire] & ~begun).bit_count(), wire))
        new = needs[next_wire] & ~begun
        begun |= new
        live += new.bit_count()
        needed = max(needed, live)
        ended = {wire for wire in waiting if not needs[wire] & ~begun}
        live -= len(ended)
        waiting -= ended
    return needed
