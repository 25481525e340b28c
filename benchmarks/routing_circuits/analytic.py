"""Entries whose expectation values are given by formulas, at any size."""

from __future__ import annotations

import random
from math import acos, cos, pi, sqrt
from typing import TYPE_CHECKING, Any

from circuits import add_ripple_carry, ghz

from .entry import Entry, label, parity, string

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def ghz_entry(num_qubits: int, star: bool = False, outcome: bool = True) -> Entry:
    """Ask correlations and the parity of X of a GHZ state, and the probability of all zeros."""
    last = num_qubits - 1
    asked = {
        "Z0": 0.0,
        f"Z0 Z{last}": 1.0,
        string("X", range(num_qubits)): 1.0,
        f"Z0 Z{num_qubits // 2} X{last}": 0.0,
    }
    if outcome:
        asked["0" * num_qubits] = 0.5
    name = f"ghz-{'star-' * star}{num_qubits}"
    return Entry(name, "GHZ", lambda: ghz(num_qubits, star), tuple(asked), tuple(asked.values()))


def w_entry(num_qubits: int) -> Entry:
    """Ask single qubits, correlations, and an outcome of a W state."""

    def build() -> QuantumCircuit:
        from qiskit import QuantumCircuit

        circuit = QuantumCircuit(num_qubits)
        circuit.x(0)
        for qubit in range(num_qubits - 1):
            # The excitation stays here with probability 1 / (number of qubits from here on).
            circuit.cry(2 * acos(sqrt(1 / (num_qubits - qubit))), qubit, qubit + 1)
            circuit.cx(qubit + 1, qubit)
        return circuit

    half, last, n = num_qubits // 2, num_qubits - 1, num_qubits
    spins: dict[str, Any] = {"name": "spin", "terms": [(f"Z{q}", 0.5) for q in range(n)]}
    observables = (f"Z{half}", f"Z0 Z{last}", f"X0 X{half}", label(n, {half: "1"}), spins)
    values = (1 - 2 / n, 1 - 4 / n, 2 / n, 1 / n, (n - 2) / 2)
    return Entry(f"w-{n}", "W", build, observables, values)


def bernstein_vazirani_entry(num_qubits: int, seed: int, outcome: bool = True) -> Entry:
    """Ask the bits of a secret, and the probability of all; the oracle's qubit is the last."""
    rng = random.Random(seed)
    secret = [rng.randrange(2) for _ in range(num_qubits - 1)]

    def build() -> QuantumCircuit:
        from qiskit import QuantumCircuit

        circuit = QuantumCircuit(num_qubits)
        circuit.x(num_qubits - 1)
        circuit.h(range(num_qubits))
        for qubit, bit in enumerate(secret):
            if bit:
                circuit.cx(qubit, num_qubits - 1)
        circuit.h(range(num_qubits - 1))
        return circuit

    asked = {f"Z{qubit}": 1.0 - 2 * bit for qubit, bit in enumerate(secret)}
    if outcome:
        asked[label(num_qubits, {qubit: str(bit) for qubit, bit in enumerate(secret)})] = 1.0
    name = f"bernstein-vazirani-{num_qubits}"
    return Entry(name, "Bernstein-Vazirani", build, tuple(asked), tuple(asked.values()))


def fourier_entry(num_qubits: int, number: int) -> Entry:
    """Ask X and Y of the Fourier transform of a number, which is a product state."""

    def build() -> QuantumCircuit:
        from qiskit import QuantumCircuit
        from qiskit.synthesis import synth_qft_full

        circuit = QuantumCircuit(num_qubits)
        circuit.x([qubit for qubit in range(num_qubits) if number >> qubit & 1])
        return circuit.compose(synth_qft_full(num_qubits))

    # Integers first: the angles of low qubits in floating point would lose the number's low bits.
    turns = [(number << qubit) % 2**num_qubits / 2**num_qubits for qubit in range(num_qubits)]
    values = tuple(cos(2 * pi * turn) for turn in turns)
    observables = tuple(f"X{qubit}" for qubit in range(num_qubits))
    return Entry(f"qft-number-{num_qubits}", "QFT", build, observables, values)


def adder_entry(bits: int, seed: int) -> Entry:
    """Ask the bits of a sum of two numbers (Cuccaro et al., arXiv:quant-ph/0410184)."""
    rng = random.Random(seed)
    one, other = rng.randrange(2**bits), rng.randrange(2**bits)

    def build() -> QuantumCircuit:
        from qiskit import QuantumCircuit

        from .library import plain

        circuit = QuantumCircuit(2 * bits + 2)
        for bit in range(bits):
            if one >> bit & 1:
                circuit.x(2 * bit + 2)
            if other >> bit & 1:
                circuit.x(2 * bit + 1)
        add_ripple_carry(circuit, bits)
        return plain(circuit)

    places = [*(2 * bit + 1 for bit in range(bits)), 2 * bits + 1]
    digits = [(one + other) >> bit & 1 for bit in range(bits + 1)]
    outcome = label(2 * bits + 2, {p: str(d) for p, d in zip(places, digits, strict=True)})
    observables = (*(f"Z{place}" for place in places), outcome)
    values = (*(1.0 - 2 * digit for digit in digits), 1.0)
    return Entry(f"adder-numbers-{bits}", "arithmetic", build, observables, values)


def product_entry(num_qubits: int) -> Entry:
    """Ask a string on all qubits of a product state that CZ gates hide: they cancel in pairs."""
    angles = [0.1 + 0.5 * qubit / num_qubits for qubit in range(num_qubits)]

    def build() -> QuantumCircuit:
        from qiskit import QuantumCircuit

        circuit = QuantumCircuit(num_qubits)
        for qubit, angle in enumerate(angles):
            circuit.ry(angle, qubit)
        for _ in range(2):
            for qubit in range(num_qubits):
                circuit.cz(qubit, (qubit + num_qubits // 2) % num_qubits)
        return circuit

    value = 1.0
    for angle in angles:
        value *= cos(angle)
    return Entry(
        f"hidden-product-{num_qubits}",
        "product",
        build,
        ("Z0", parity(num_qubits)),
        (cos(angles[0]), value),
    )
