def linked(blocks, width, links, angle=None):
    pairs = []
    for layer in range(links + 1):
        for block in range(blocks):
            first = block * width
            pairs += [(q, q + 1) for q in range(first, first + width - 1)]
        if layer < links:
            own = () if angle is None else (angle,)
            pairs += [(e - 1, e, *own) for e in range(width, blocks * width, width)]
    return pairs


def entangled(num_qubits, pairs, seed, quiet=()):
    import random
    from math import pi
    from qiskit import QuantumCircuit

    rng = random.Random(seed)
    circuit = QuantumCircuit(num_qubits)
    def turn(qubits):
        for qubit in qubits:
            angles = [rng.uniform(0, 2 * pi) for _ in range(3)]
            circuit.u(*angles, qubit)
    turn(range(num_qubits))
    for first, second, *angle in pairs:
        if angle:
            circuit.rzz(*angle, first, second)
        else:
            circuit.cz(first, second)
        turn(q for q in (first, second) if q not in quiet)
    turn(range(num_qubits))
    return circuit
