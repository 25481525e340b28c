"""Parse the bytes of a circuit file; runs only inside the sandbox.

Qiskit's loaders do the parsing. What they would trust is checked first: register sizes, `include`
statements, and the counts in a QPY header.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import sys
import warnings
from typing import Any

from qiskit import QuantumCircuit, qasm2, qpy
from qiskit.circuit import ParameterExpression
from qiskit.circuit.library import UnitaryGate

from hpcq.circuits.loader_errors import one_line, reason_of
from hpcq.circuits.normalise import MAX_QUBITS
from hpcq.circuits.port_markers import PORT_MARKERS
from hpcq.circuits.qpy import check_header
from hpcq.core.errors import HpcqError, InputError, MissingDependencyError

_INCLUDES = {2: "qelib1.inc", 3: "stdgates.inc"}
# Comments and strings are separate tokens, so that their content is not read as code. One without
# an end extends to the end of the text, which keeps the search linear.
_TOKENS = re.compile(
    r"""
      (?P<comment> //[^\r\n]* | /\* (?: .*? \*/ | .* ) )
    | (?P<string>  "[^"]*"? | '[^']*'? )
    | (?P<include> \binclude\b )
    | \b(?: [qc]reg \s+ \w+ | qubit | bit ) \s* \[ \s* (?P<size> [0-9_]+ ) \s* \]
    """,
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"(?:\s+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_HEADER = re.compile(r"OPENQASM\s+([0-9]{1,9})(?:\.[0-9]{1,9})?\s*;")


def parse(data: bytes, name: str) -> tuple[QuantumCircuit, bool]:
    """Return the circuit in `data`, and whether its gate names are unique (OpenQASM 2).

    Raises:
        InputError: The bytes are not one circuit in a known format.
        MissingDependencyError: They are OpenQASM 3, and qiskit_qasm3_import is not installed.
    """
    if data.startswith(b"QISKIT"):
        return _run_loader("QPY", _parse_qpy, data, name), False
    text = _decode(data, name)
    version = _qasm_version(text, name)
    _check_text(text, version, name)
    loader = _parse_qasm2 if version == 2 else _parse_qasm3
    return _run_loader(f"OpenQASM {version}", loader, text, name), version == 2


def parse_stored(data: bytes, name: str) -> QuantumCircuit:
    """Return the circuit from QPY bytes of a result.

    Raises:
        InputError: The bytes are not a circuit, or not one that hpcq writes.
    """
    circuit = _run_loader("QPY", _parse_qpy, data, name)
    if circuit.num_qubits > MAX_QUBITS or circuit.num_clbits:
        raise InputError(
            f"{name}: has {circuit.num_qubits} qubits and {circuit.num_clbits} bits, expected at "
            f"most {MAX_QUBITS} qubits and nothing else"
        )
    for step in circuit.data:
        is_matrix = step.name == "unitary" and isinstance(step.operation, UnitaryGate)
        if not (step.is_standard_gate() or step.name in PORT_MARKERS.values() or is_matrix):
            raise InputError(
                f"{name}: holds {one_line(step.name, 40)!r}, expected only gates of a cut circuit"
            )
        for value in () if is_matrix else step.params:
            is_number = isinstance(value, (int, float)) and math.isfinite(value)
            if not is_number and not isinstance(value, ParameterExpression):
                raise InputError(
                    f"{name}: {step.name!r} has {one_line(value, 40)}, expected finite numbers"
                )
    return circuit


def import_parser(data: bytes) -> None:
    """Import what `parse` needs for these bytes before the limits apply."""
    if re.search(rb"OPENQASM\s+3", data):
        with contextlib.suppress(ImportError):  # _parse_qasm3 reports it
            import qiskit_qasm3_import  # noqa: F401  (too slow to import for the other formats)


def _run_loader(kind: str, loader: Any, content: Any, name: str) -> QuantumCircuit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            circuit = loader(content, name)
        except (HpcqError, MemoryError):
            raise
        except RecursionError:
            raise InputError(f"{name}: expressions or blocks are nested too deeply") from None
        except BaseException as error:  # PyO3 reports a panic in Rust as a BaseException
            if "MemoryError()" in str(error):
                raise MemoryError from None
            raise InputError(f"{name}: not a valid {kind} file: {reason_of(error)}") from None
    if not isinstance(circuit, QuantumCircuit):
        raise InputError(f"{name}: holds a {type(circuit).__name__}, expected a circuit")
    return circuit


def _decode(data: bytes, name: str) -> str:
    if data[:1] == b"\x80":
        raise InputError(f"{name}: looks like a Python pickle, which is never loaded; use QPY")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: byte {error.start} is not UTF-8 text, expected OpenQASM or QPY"
        ) from None
    if "\0" in text:
        raise InputError(f"{name}: holds null characters, expected OpenQASM text or QPY")
    return text


def _qasm_version(text: str, name: str) -> int:
    blank = _BLANK.match(text)
    header = _HEADER.match(text, blank.end() if blank else 0)
    if header is None:
        raise InputError(
            f"{name}: does not start like a circuit file, "
            "expected 'OPENQASM 2.0;', 'OPENQASM 3.0;' or QPY"
        )
    version = int(header[1])
    if version not in _INCLUDES:
        raise InputError(f"{name}: is OpenQASM {version}, expected version 2 or 3")
    return version


def _check_text(text: str, version: int, name: str) -> None:
    total = 0
    for token in _TOKENS.finditer(text):
        if token["include"]:
            included = _string_after(text, token.end())
            if included != _INCLUDES[version]:
                line = text.count("\n", 0, token.start()) + 1
                raise InputError(
                    f"{name}: line {line} includes {one_line(included, 60)!r}, "
                    f"only '{_INCLUDES[version]}' may be included"
                )
        elif token["size"]:
            digits = token["size"].replace("_", "")
            total += int(digits or 0) if len(digits) < 10 else 10**10
            if total > 2 * MAX_QUBITS:  # quantum and classical bits
                line = text.count("\n", 0, token.start()) + 1
                raise InputError(
                    f"{name}: line {line} declares too large a register, "
                    f"expected at most {MAX_QUBITS} qubits in all"
                )


def _string_after(text: str, start: int) -> str:
    blank = _BLANK.match(text, start)
    token = _TOKENS.match(text, blank.end() if blank else start)
    return token["string"].strip("\"'") if token and token["string"] else ""


def _parse_qasm2(text: str, _name: str) -> QuantumCircuit:
    return qasm2.loads(
        text,
        include_path=(),
        custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS,
        custom_classical=qasm2.LEGACY_CUSTOM_CLASSICAL,
    )


def _parse_qasm3(text: str, name: str) -> QuantumCircuit:
    from qiskit import qasm3

    if sys.modules.get("qiskit_qasm3_import") is None:
        raise MissingDependencyError(
            f"{name}: OpenQASM 3 needs a package that is missing: pip install qiskit_qasm3_import"
        )
    return qasm3.loads(text)


def _parse_qpy(data: bytes, name: str) -> QuantumCircuit:
    check_header(data, name)
    circuit: QuantumCircuit = qpy.load(io.BytesIO(data))[0]
    return circuit
