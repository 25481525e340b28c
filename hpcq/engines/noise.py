"""Noise of simulated devices, in Aer's dictionary form.

The form is that of ``NoiseModel.to_dict(serializable=True)``, where a complex number is a pair of
numbers. Beside ``errors`` it may have ``basis_gates``, the gates to which circuits are compiled.
"""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hpcq.core import strict_json
from hpcq.core.errors import InputError
from hpcq.core.files import open_regular, printable_path
from hpcq.engines.aer import import_aer
from hpcq.engines.backends import fake_backend

MAX_FILE_BYTES = 64 << 20
MAX_GATE_QUBITS = 4
MAX_QUBITS = 1 << 16
"""Limits for files of noise: size in bytes (64 MiB), qubits of a gate with noise, and qubits of the
device. A larger file is refused, because reading or building it could exhaust the memory."""

_EXPECTED = "a JSON file of Aer's noise model, or the name of a fake backend such as fake_brisbane"
_ONE_QUBIT = frozenset({"u", "u3", "sx", "rx", "ry"})


@dataclass(frozen=True)
class Noise:
    """Noise that a simulation adds to a circuit's gates and measurements.

    Attributes:
        name: Its name.
        text: Aer's dictionary form as JSON.
        backend: Name of the fake backend whose couplings circuits respect. Without one they respect
            the pairs of qubits with two-qubit errors, if the errors are limited to certain pairs.
    """

    name: str
    text: str
    backend: str | None = None

    def to_json(self) -> str:
        """Return the noise as JSON, to send it to other ranks."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Noise:
        """Return the noise that :meth:`to_json` wrote."""
        return cls(**json.loads(text))

    @cached_property
    def errors(self) -> tuple[dict[str, Any], ...]:
        """The errors, in Aer's dictionary form."""
        return tuple(json.loads(self.text)["errors"])

    @cached_property
    def basis_gates(self) -> tuple[str, ...]:
        """The gates to compile to: those named, else the noisy gates, completed to a universal set.

        No two-qubit gate is added to noisy ones, because circuits could use it to avoid the noise.
        """
        from qiskit.circuit import Gate
        from qiskit.circuit.library import get_standard_gate_name_mapping

        standard = get_standard_gate_name_mapping().items()
        known = {name for name, gate in standard if isinstance(gate, Gate)}
        known &= set(import_aer().AerSimulator().configuration().basis_gates)
        named = json.loads(self.text).get("basis_gates")
        if named is not None:
            return tuple(sorted(known.intersection(named)))
        noisy = {name for error in self.errors for name in error.get("operations", ())}
        pairs = {n for e in self.errors if _arity(e) == 2 for n in e.get("operations", ())}
        gates = (noisy & known) - {"id"} | {"rz"}
        if not pairs & gates:
            gates.add("cx")
        if not gates & _ONE_QUBIT:
            gates.add("sx")
        return tuple(sorted(gates))

    @cached_property
    def couplings(self) -> tuple[tuple[int, int], ...]:
        """The pairs of qubits with two-qubit errors; empty if an error applies to all pairs."""
        pairs: set[tuple[int, int]] = set()
        for error in self.errors:
            if error["type"] == "qerror" and _arity(error) == 2:
                if error.get("gate_qubits") is None:
                    return ()
                pairs |= {(a, b) for a, b in error["gate_qubits"]}
        return tuple(sorted(pairs))

    @cached_property
    def disturbs_measured(self) -> bool:
        """Whether an error acts on the state after a measurement, in addition to readout errors."""
        return any(
            error["type"] == "qerror" and "measure" in error["operations"] for error in self.errors
        )

    def model(self) -> Any:
        """Return Aer's ``NoiseModel``.

        Raises:
            InputError: If Aer refuses it.
        """
        return _build(json.loads(self.text), self.name)

    def restricted(
        self, qubits: Mapping[int, int], copies: Mapping[int, int], operations: Iterable[str]
    ) -> Any:
        """Return the noise of a circuit on some of the qubits, for a run of Aer.

        Args:
            qubits: The circuit's qubit for each qubit of the model that it uses.
            copies: Further qubits of the circuit, each with the qubit of the model whose readout
                error it has as well.
            operations: Names of the circuit's operations.

        Returns:
            A ``NoiseModel`` that is fit for a run of Aer only.
        """
        used = set(operations)
        errors = []
        for error in self.errors:
            is_readout = error["type"] == "roerror"
            kept_error = dict(error)
            if not is_readout:
                kept_error["operations"] = [name for name in error["operations"] if name in used]
                if not kept_error["operations"]:
                    continue
            targets = error.get("gate_qubits")
            if targets is not None:
                kept = [
                    [qubits[q] for q in target] for target in targets if qubits.keys() >= {*target}
                ]
                if is_readout:
                    kept += [[c] for c, q in copies.items() for target in targets if [q] == target]
                if not kept:
                    continue
                kept_error["gate_qubits"] = kept
            errors.append(kept_error)
        model = import_aer().noise.NoiseModel(basis_gates=list(self.basis_gates))
        # Aer turns a model into its dictionary at every run, a millisecond for every error.
        model.to_dict = lambda serializable=False: {"errors": errors}  # noqa: ARG005
        return model


def read_noise(text: str) -> Noise:
    """Read noise from a JSON file, or return that of a fake backend such as ``fake_brisbane``.

    Raises:
        InputError: If the text is neither a path nor such a name; the message says why.
        MissingDependencyError: If Aer is not installed.
    """
    if re.fullmatch(r"fake\w*", text, re.IGNORECASE | re.ASCII):
        return _backend_noise(text)
    try:
        descriptor = open_regular(text, MAX_FILE_BYTES, _EXPECTED)
    except InputError as error:
        more = "" if "expected" in str(error) else f"; expected {_EXPECTED}"
        raise InputError(f"noise: {error}{more}") from None
    name = printable_path(text)
    try:
        with os.fdopen(descriptor, "rb") as file:
            content = strict_json.loads(file.read().decode("utf-8"))
        _check(content)
    except (ValueError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"noise: {name}: {reason}; expected {_EXPECTED}") from None
    _build(content, name)
    return Noise(name, json.dumps(content))


def as_noise(noise: object) -> Noise:
    """Return noise from a ``NoiseModel`` of Aer, or from text for :func:`read_noise`.

    Raises:
        InputError: If it is none of these.
    """
    if isinstance(noise, Noise):
        return noise
    if isinstance(noise, str | os.PathLike):
        return read_noise(os.fspath(noise))
    check_model(noise)
    return Noise("custom", _text_of(noise))


def check_model(noise: object) -> None:
    """Check that an object is noise.

    Raises:
        InputError: If it is neither a :class:`Noise` nor a ``NoiseModel`` of Aer.
    """
    if not isinstance(noise, Noise | import_aer().noise.NoiseModel):
        raise InputError(f"noise: {type(noise).__name__}, expected a NoiseModel or {_EXPECTED}")


def _text_of(model: Any) -> str:
    content = model.to_dict(serializable=True)
    for error in content["errors"]:
        error.pop("id", None)  # random, but equal noise must give equal text
    return json.dumps({**content, "basis_gates": sorted(model.basis_gates)})


def _backend_noise(text: str) -> Noise:
    backend = fake_backend(text, "noise")
    model = import_aer().noise.NoiseModel.from_backend(backend)
    content = json.loads(_text_of(model))
    # from_backend lists errors in the order of a set, which another process would not repeat.
    content["errors"].sort(key=json.dumps)
    return Noise(backend.name, json.dumps(content), backend.name)


def _arity(error: Mapping[str, Any]) -> int:
    """Return the number of qubits of the gates to which an error applies."""
    if error.get("gate_qubits"):
        return len(error["gate_qubits"][0])
    lists = error.get("instructions", ())
    return 1 + max((q for each in lists for i in each for q in i["qubits"]), default=0)


def _build(content: dict[str, Any], name: str) -> Any:
    """Return the ``NoiseModel`` of a dictionary; refuse any content that Aer cannot build."""
    errors = []
    for error in content["errors"]:
        converted = dict(error)
        if "instructions" in error:
            converted["instructions"] = [
                [
                    {**i, "params": _matrices(i)} if i["name"] in ("kraus", "unitary") else i
                    for i in each
                ]
                for each in error["instructions"]
            ]
        errors.append(converted)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from_dict is deprecated, but has no successor
            return import_aer().noise.NoiseModel.from_dict({"errors": errors})
    except Exception as error:  # bad content raises many kinds of errors in Aer
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"noise: {name}: Aer refuses it ({type(error).__name__}: {reason}); "
            f"expected {_EXPECTED}"
        ) from None


def _check(content: object) -> None:
    """Check everything that Aer does not check, or that would exhaust the memory in Aer."""
    if not isinstance(content, dict) or not isinstance(content.get("errors"), list):
        raise ValueError("it is not a dictionary with a list of 'errors'")
    basis = content.get("basis_gates")
    if basis is not None and not _is_list_of(basis, str):
        raise ValueError("basis_gates is not a list of names")
    for number, error in enumerate(content["errors"]):
        try:
            _check_error(error)
        except (TypeError, KeyError, ValueError) as problem:
            fault = f"lacks {problem}" if isinstance(problem, KeyError) else f"is wrong: {problem}"
            raise ValueError(f"error {number} {fault}") from None


def _check_error(error: Any) -> None:
    if not isinstance(error, dict) or error["type"] not in ("qerror", "roerror"):
        raise ValueError("its type is neither qerror nor roerror")
    targets = error.get("gate_qubits")
    if targets is not None:
        if not isinstance(targets, list) or not targets:
            raise ValueError("gate_qubits is not a list of lists of qubits")
        for target in targets:
            _check_qubits(target, MAX_QUBITS)
        if len({len(target) for target in targets}) > 1:
            raise ValueError("gate_qubits has gates on different numbers of qubits")
    probabilities = np.asarray(error["probabilities"])
    if probabilities.dtype.kind not in "fiu" or not probabilities.size:
        raise ValueError("probabilities are not numbers")
    if not np.all((probabilities >= 0) & (probabilities <= 1 + 1e-9)):
        raise ValueError("a probability is not between 0 and 1")
    if error["type"] == "roerror":
        return
    if not _is_list_of(error["operations"], str):
        raise ValueError("operations is not a list of names")
    _check_width(error)
    lists = error["instructions"]
    if not isinstance(lists, list) or probabilities.shape != (len(lists),):
        raise ValueError("it does not have one probability for each list of instructions")
    for each in lists:
        for instruction in each:
            if not isinstance(instruction["name"], str):
                raise ValueError("a name is not a string")
            _check_qubits(instruction["qubits"], MAX_GATE_QUBITS)
            if instruction["name"] in ("kraus", "unitary"):
                _check_matrices(instruction)


def _check_width(error: Mapping[str, Any]) -> None:
    """Check that an error acts on no more qubits than its gates."""
    from qiskit.circuit.library import get_standard_gate_name_mapping

    known = get_standard_gate_name_mapping()
    lists = error["instructions"]
    width = 1 + max((q for each in lists for i in each for q in i["qubits"]), default=-1)
    for name in error["operations"]:
        if name in known and known[name].num_qubits < width:
            raise ValueError(f"it acts on {width} qubits, but its gate {name} on fewer")


def _check_qubits(qubits: Any, limit: int) -> None:
    valid = _is_list_of(qubits, int) and all(
        not isinstance(q, bool) and 0 <= q < limit for q in qubits
    )
    if not valid or len({*qubits}) < len(qubits) or len(qubits) > MAX_GATE_QUBITS:
        raise ValueError(f"qubits {str(qubits)[:40]}, expected different numbers below {limit}")


def _check_matrices(instruction: Mapping[str, Any]) -> None:
    size = 1 << len(instruction["qubits"])
    matrices = _matrices(instruction)
    if any(matrix.shape != (size, size) for matrix in matrices) or not matrices:
        raise ValueError(f"{instruction['name']} matrices are not of shape {size} x {size}")
    total = sum(matrix.conj().T @ matrix for matrix in matrices)
    if not np.allclose(total, np.eye(size), rtol=0, atol=1e-6):
        raise ValueError(f"{instruction['name']} matrices do not keep the trace")


def _matrices(instruction: Mapping[str, Any]) -> list[Any]:
    """Return the complex matrices of an instruction, which has pairs of numbers."""
    matrices = [np.asarray(matrix, dtype=float) for matrix in instruction["params"]]
    if not all(m.ndim == 3 and m.shape[2] == 2 and math.isfinite(m.sum()) for m in matrices):
        raise ValueError(f"{instruction['name']} has no matrices of pairs of numbers")
    return [m[..., 0] + 1j * m[..., 1] for m in matrices]


def _is_list_of(values: object, kind: type) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(v, kind) for v in values)
