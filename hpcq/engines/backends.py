"""Open backends by name, and compile circuits for them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.core.errors import InputError
from hpcq.core.system import redact_secrets

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

RUNTIME_CURE = "pip install 'hpcq[runtime]'"
GENERIC_QUBITS = (2, 64)
"""Smallest and largest number of qubits of a generic backend."""

_EXPECTED = "fake_NAME (such as fake_brisbane), generic:N, or the name of a backend of your account"


def open_backend(name: str) -> Any:
    """Open a backend by its name.

    Args:
        name: ``fake_NAME`` for a fake backend of qiskit-ibm-runtime, ``generic:N`` for Qiskit's
            generic backend with N qubits, or the name of a backend of the saved IBM Quantum
            account.

    Raises:
        InputError: If it cannot be opened; the message says why.
    """
    if re.fullmatch(r"fake\w*", name, re.IGNORECASE | re.ASCII):
        return fake_backend(name, "backend")
    if name.lower().startswith("generic:"):
        number = name.partition(":")[2]
        least, most = GENERIC_QUBITS
        if not re.fullmatch(r"[0-9]{1,4}", number) or not least <= int(number) <= most:
            raise InputError(
                f"backend: {name[:40]!r}, expected generic:N with N from {least} to {most}"
            )
        from qiskit.providers.fake_provider import GenericBackendV2

        return GenericBackendV2(num_qubits=int(number), seed=0)
    runtime = runtime_module("backend", name)
    try:
        return runtime.QiskitRuntimeService().backend(name)
    except Exception as error:  # accounts, networks and services raise many kinds of errors
        reason = redact_secrets(" ".join(str(error).split()))[:300] or type(error).__name__
        raise InputError(
            f"backend: {name[:60]!r} cannot be opened: {reason}; expected {_EXPECTED}"
        ) from None


def fake_backend(name: str, argument: str) -> Any:
    """Return a fake backend of qiskit-ibm-runtime.

    It is named by itself or by its class, in any case, such as ``fake_brisbane``; ``argument`` is
    the name of the argument in messages.

    Raises:
        InputError: If there is no backend of that name, or qiskit-ibm-runtime is missing.
    """
    from qiskit.providers import BackendV2

    kinds = {
        _plain(title): kind
        for title, kind in vars(runtime_module(argument, name, ".fake_provider")).items()
        if isinstance(kind, type) and issubclass(kind, BackendV2)
    }
    kind = kinds.get(_plain(name))
    if kind is None:
        raise InputError(
            f"{argument}: {name[:60]!r}, expected a fake backend such as fake_brisbane; "
            f"qiskit-ibm-runtime has {len(kinds)} of them"
        )
    return kind()


def transpile(
    circuit: QuantumCircuit, device: Any, argument: str, couplings: Sequence[tuple[int, int]] = ()
) -> QuantumCircuit:
    """Compile a circuit; equal arguments give equal circuits.

    Args:
        circuit: The circuit; its parameters stay unbound.
        device: A backend, or a tuple of names of gates.
        argument: Name of the argument in messages.
        couplings: For names of gates, the pairs of qubits that may interact; if empty, all pairs.

    Raises:
        InputError: If the circuit does not fit the device.
    """
    from qiskit.circuit import CircuitInstruction
    from qiskit.circuit.library import UnitaryGate
    from qiskit.exceptions import QiskitError
    from qiskit.transpiler import generate_preset_pass_manager

    most = getattr(device, "num_qubits", None)
    if most is not None and circuit.num_qubits > most:
        raise InputError(
            f"{argument}: {device.name} has {most} qubits, but a subcircuit needs "
            f"{circuit.num_qubits}; expected a larger device, or cuts into narrower subcircuits"
        )
    if isinstance(device, tuple):
        options: dict[str, Any] = {"basis_gates": [*device]}
        if couplings:
            options["coupling_map"] = [list(pair) for pair in couplings]
    else:
        options = {"backend": device}
    try:
        manager = generate_preset_pass_manager(optimization_level=1, seed_transpiler=0, **options)
        compiled = manager.run(circuit)
    except QiskitError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{argument}: a subcircuit cannot be compiled for it: {reason}") from None
    # Aer silently transposes matrices that are read-only and stored by rows.
    for index, instruction in enumerate(compiled.data):
        if instruction.operation.name == "unitary":
            gate = UnitaryGate(np.array(instruction.operation.to_matrix(), order="F"))
            compiled.data[index] = CircuitInstruction(gate, instruction.qubits)
    return compiled


def runtime_module(argument: str, name: str, part: str = "") -> Any:
    """Import qiskit-ibm-runtime, or a module of it, and return it."""
    try:
        return importlib.import_module("qiskit_ibm_runtime" + part)
    except ImportError as error:
        raise InputError(
            f"{argument}: {name[:60]!r} needs qiskit-ibm-runtime, which is not usable here "
            f"({error}); install it with: {RUNTIME_CURE}"
        ) from None


def _plain(name: str) -> str:
    return re.sub(r"(v2|backend)$", "", name.lower().replace("_", ""))
