"""Writing and reading results as HDF5 files: arrays, JSON and QPY, never pickles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from hpcq.circuits import qpy
from hpcq.circuits.observables import Observable
from hpcq.circuits.pauli_text import PauliString, parse_string
from hpcq.circuits.port_markers import PORT_MARKERS
from hpcq.circuits.stored_circuits import load_circuits
from hpcq.core.files import check_writable, printable_path
from hpcq.core.version import __version__
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subcircuits import Edge, Port, Subcircuit
from hpcq.results.hdf5_files import FORMAT, FORMAT_VERSION, is_result, open_sealed, write_sealed
from hpcq.results.hdf5_plain import PlainGroup
from hpcq.results.hdf5_progress import read_stages, read_unfinished, write_unfinished
from hpcq.results.hdf5_records import read_record, write_record
from hpcq.results.hdf5_summary import read_fingerprint, read_numbers, read_summary
from hpcq.results.hdf5_texts import decode_text, numbered_groups, pauli_texts
from hpcq.results.result import Result, ResultDetails, set_writer

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def save(result: Result, path: Path) -> None:
    """Write a result to an HDF5 file, all or nothing.

    Raises:
        InputError: If the path cannot be written, or holds a file that is not an hpcq result.
        NotWrittenError: If writing fails, for example because the disk is full; the old file is
            kept.
    """
    rewrite(result, check_output(path))


def rewrite(result: Result, path: Path) -> bytes:
    """Write a result to a path that :func:`check_output` returned, and return the file's seal.

    Raises:
        NotWrittenError: If it cannot be written; the old file is kept.
    """
    return write_sealed(path, lambda file: _write(result, file), _size(result))


def check_output(path: Path) -> Path:
    """Return a path with all links followed, after making sure that a result can be written there.

    Raises:
        InputError: If it cannot, or if there is a file that is not an hpcq result.
    """
    return check_writable(path, "output", is_result, "a valid hpcq result")


set_writer(save)


def load(path: str | Path) -> Result:
    """Return the result in a file, with all its details.

    Args:
        path: A file that :meth:`hpcq.Result.save` or ``hpcq run -o`` wrote.

    Raises:
        InputError: If the file is missing, damaged or not an hpcq result.
    """
    with open_sealed(Path(path)) as file:
        summary = read_summary(file)
        groups = numbered_groups(file.get("subcircuits", {}))
        circuit, *circuits = _circuits([file["circuit"], *(group["qpy"] for group in groups)], path)
        observables = tuple(
            Observable(
                name,
                tuple(
                    (
                        parse_string(decode_text(pauli), circuit.num_qubits, "paulis"),
                        float(coefficient),
                    )
                    for pauli, coefficient in zip(
                        group["paulis"][()],
                        read_numbers(group["coefficients"], (None,)),
                        strict=True,
                    )
                ),
            )
            for name, group in zip(summary.names, numbered_groups(file["observables"]), strict=True)
        )
        subcircuits, strings, tensors = [], [], []
        for group, piece in zip(groups, circuits, strict=True):
            ports = json.loads(group.attrs["ports"])
            subcircuits.append(
                Subcircuit(
                    piece,
                    tuple(int(qubit) for qubit in group.attrs["qubits"]),
                    tuple(map(_port, ports)),
                    int(group.attrs.get("cone", 0)),
                )
            )
            width = int(group.attrs["num_qubits"])
            strings.append(
                tuple(parse_string(decode_text(s), width, "strings") for s in group["strings"][()])
            )
            size = subcircuits[-1].tensor_dimension
            shape = (len(strings[-1]), size, size)
            tensors.append(read_numbers(group["tensor"], shape, "c") if "tensor" in group else None)
        details = ResultDetails(
            circuit,
            Cuts.from_json(decode_text(file["cuts"][()])),
            observables,
            _cones(file, observables),
            tuple(subcircuits),
            _edges(decode_text(file["edges"][()])),
            tuple(strings),
            tuple(tensors),
            read_record(file, subcircuits) if "sampling" in file else None,
            read_fingerprint(file),
            read_unfinished(file) if "unfinished" in file else None,
            tuple(
                read_numbers(timeline, (None, 5))
                for timeline in numbered_groups(file.get("timelines", {}))
            ),
        )
        return Result(
            summary.names,
            summary.expectation_values,
            summary.standard_errors,
            summary.status,
            summary.config,
            summary.provenance,
            details,
        )


def load_summary(path: str | Path) -> Result:
    """Return the result in a file without its details; see :func:`load`."""
    with open_sealed(Path(path)) as file:
        return read_summary(file)


def load_progress(path: str | Path) -> tuple[Result, list[dict[str, Any]]]:
    """Return what :func:`load_summary` and :func:`load_stages` return.

    Verifying a file's checksum takes as long as reading it, so the file is opened only once.
    """
    with open_sealed(Path(path)) as file:
        return read_summary(file), read_stages(file)


def load_fingerprint(path: Path) -> dict[str, str]:
    """Return the fingerprint of the run in a file; empty if there is no file.

    Raises:
        InputError: If the file is damaged or not an hpcq result.
    """
    if not path.exists():
        return {}
    with open_sealed(path) as file:
        return read_fingerprint(file)


def _size(result: Result) -> int:
    """Return about how many bytes a result takes in a file, not counting its small parts."""
    details = result.details
    if details is None:
        return 0
    tensors = {id(tensor): tensor.nbytes for tensor in details.tensors if tensor is not None}
    counts = [] if details.record is None else [c for r in details.record.rounds for c in r.counts]
    stages = () if details.unfinished is None else details.unfinished.stages
    return (
        sum(tensors.values())
        + sum(entry.outcomes.nbytes + entry.frequencies.nbytes for entry in counts)
        + sum(stage.finished.num_bytes + 16 * len(stage.finished) for stage in stages)
    )


def _write(result: Result, file: h5py.File) -> None:
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["hpcq_version"] = __version__
    file.attrs["config"] = json.dumps(dict(result.config))
    provenance = file.create_group("provenance")
    for name, value in result.provenance.items():
        plain = isinstance(value, (int, float, str))
        provenance.attrs[name] = value if plain else json.dumps(value)
    values = file.create_group("results")
    values["expectation_values"] = np.asarray(result.expectation_values, dtype=float)
    values["standard_errors"] = np.asarray(result.standard_errors, dtype=float)
    names = file.create_group("observables")
    if result.details is None:
        for number, name in enumerate(result.names):
            names.create_group(str(number)).attrs["name"] = name
    else:
        _write_details(result.details, file)
    file.attrs["status"] = result.status


def _write_details(details: ResultDetails, file: h5py.File) -> None:
    content = qpy.dump(details.circuit)
    file["circuit"] = np.frombuffer(content, dtype=np.uint8)
    file["circuit"].attrs["num_qubits"] = details.circuit.num_qubits
    file["circuit"].attrs["sha256"] = hashlib.sha256(content).hexdigest()
    file["cuts"] = details.cuts.to_json()
    file.attrs["identity"] = json.dumps(dict(details.fingerprint))
    file["edges"] = json.dumps(
        [
            {
                "ends": edge.ends,
                "weights": [[w.real, w.imag] for w in map(complex, edge.weights)],
                "sampling_overhead": edge.sampling_overhead,
                "cut": edge.cut,
            }
            for edge in details.edges
        ]
    )
    for number, observable in enumerate(details.observables):
        group = file["observables"].create_group(str(number))
        group.attrs["name"] = observable.name
        group["paulis"] = pauli_texts(
            (pauli for pauli, _ in observable.terms), details.circuit.num_qubits
        )
        cones = [details.cone_of.get(pauli, 0) for pauli, _ in observable.terms]
        group["cones"] = np.array(cones, dtype=np.int64)
        group["coefficients"] = np.array([c for _, c in observable.terms], dtype=float)
    written: dict[int, h5py.Dataset] = {}
    for number, subcircuit in enumerate(details.subcircuits):
        group = file.create_group(f"subcircuits/{number}")
        group.attrs["num_qubits"] = subcircuit.num_qubits
        group.attrs["qubits"] = np.array(subcircuit.qubits, dtype=np.int64)
        group.attrs["ports"] = json.dumps([_port_json(port) for port in subcircuit.ports])
        group.attrs["cone"] = subcircuit.cone
        group["qpy"] = np.frombuffer(qpy.dump(subcircuit.circuit), dtype=np.uint8)
        group["strings"] = pauli_texts(details.strings[number], subcircuit.num_qubits)
        tensor = details.tensors[number]
        if tensor is None:
            continue
        if id(tensor) in written:
            group["tensor"] = written[id(tensor)]
        else:
            group["tensor"] = tensor
            written[id(tensor)] = group["tensor"]
    if details.record is not None:
        write_record(details.record, file)
    if details.unfinished is not None:
        write_unfinished(details.unfinished, file)
    for number, timeline in enumerate(details.timelines):
        file[f"timelines/{number}"] = timeline
        file[f"timelines/{number}"].attrs["columns"] = ["rank", "begin", "end", "tasks", "owner"]


def _circuits(datasets: Sequence[h5py.Dataset], path: str | Path) -> list[QuantumCircuit]:
    """Return the circuits in datasets of QPY bytes; messages name the path."""
    for dataset in datasets:
        if dataset.dtype != np.uint8 or dataset.ndim != 1:
            raise ValueError(f"{dataset.name} is not a row of bytes")
    return load_circuits(
        [(f"{printable_path(path)}: {dataset.name}", dataset[()].tobytes()) for dataset in datasets]
    )


_PORT_FIELDS = {"twin": "shared_with"}
"""Names of a port's fields in files and in the class, where these differ."""


def _port_json(port: Port) -> dict[str, Any]:
    names = {field: name for name, field in _PORT_FIELDS.items()}
    return {names.get(field, field): value for field, value in asdict(port).items()}


def _port(content: dict[str, Any]) -> Port:
    """Return a port that was read from JSON.

    Raises:
        ValueError: If it is not one that a circuit can have.
    """
    port = Port(**{_PORT_FIELDS.get(name, name): value for name, value in content.items()})
    numbers = (port.wire, port.dimension, port.shared_with or 0)
    if port.kind not in PORT_MARKERS or not all(type(number) is int for number in numbers):
        raise ValueError(f"a port is {str(content)[:40]}")
    if port.dimension not in (2, 4):
        raise ValueError(f"a port's dimension is {port.dimension}, expected 2 or 4")
    return port


def _edges(text: str) -> tuple[Edge, ...]:
    return tuple(
        Edge(
            ends=(tuple(edge["ends"][0]), tuple(edge["ends"][1])),
            weights=tuple(complex(real, imag) for real, imag in edge["weights"]),
            sampling_overhead=edge["sampling_overhead"],
            cut=edge["cut"],
        )
        for edge in json.loads(text)
    )


def _cones(file: PlainGroup, observables: Iterable[Observable]) -> dict[PauliString, int]:
    """Return the number of every term's light cone; empty if the file does not contain them."""
    cones = {}
    for group, observable in zip(numbered_groups(file["observables"]), observables, strict=True):
        if "cones" in group:
            for (pauli, _), cone in zip(observable.terms, group["cones"][()], strict=True):
                cones[pauli] = int(cone)
    return cones
