"""The record of a run with shots in its HDF5 file: counts of every variant, round by round."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import parse_string
from hpcq.cutting.subcircuits import Subcircuit
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.estimator import ShotRound
from hpcq.reconstruction.estimation.joint_samples import JointDraws, JointRound
from hpcq.reconstruction.estimation.outcome_signals import Inversions
from hpcq.reconstruction.estimation.variant_batches import VariantBatch
from hpcq.results.hdf5_plain import PlainGroup
from hpcq.results.hdf5_summary import check_fingerprint, read_numbers
from hpcq.results.hdf5_texts import decode_text, numbered_groups, pauli_texts
from hpcq.results.sampling_record import SamplingRecord

_NONE = -1
"""Stands for None in attributes, which are integers."""


def write_record(record: SamplingRecord, file: h5py.File) -> None:
    """Write the record of a run with shots."""
    group = file.create_group("sampling")
    group.attrs["mode"] = record.mode
    group.attrs["identity"] = json.dumps(dict(record.fingerprint))
    for number, (use, part) in enumerate(zip(record.uses, record.parts, strict=True)):
        piece = file[f"subcircuits/{number}"]
        piece.attrs["source"] = _NONE if use is None else use
        piece.attrs["part"] = _NONE if part is None else part
    for number, tensor in enumerate(record.sources):
        _write_source(tensor, group.create_group(f"sources/{number}"), record.mode == "enumerated")
    group.require_group("sources")
    rounds = group.create_group("rounds")
    for number, measured in enumerate(record.rounds):
        round_group = rounds.create_group(str(number))
        round_group.attrs["weight"] = measured.weight
        round_group.attrs["shots"] = measured.shots
        for source, counts in enumerate(measured.counts):
            _write_counts(counts, round_group.create_group(f"sources/{source}"))
        if isinstance(measured, ShotRound):
            for source, (tensor, inversions) in enumerate(
                zip(record.sources, measured.inversions, strict=True)
            ):
                source_group = round_group[f"sources/{source}"]
                source_group.attrs["recipes"] = np.array(inversions, dtype=np.int64)
                for port, (port_basis, inversion) in enumerate(
                    zip(tensor.port_bases, inversions, strict=True)
                ):
                    source_group[f"recipe_{port}"] = port_basis.inversions[inversion]
        else:
            for source, rows in enumerate(measured.rows):
                round_group[f"sources/{source}/variants"] = rows
            for part, factors in enumerate(measured.draws.factors):
                round_group[f"factors/{part}"] = factors
            for subcircuit, signals in enumerate(measured.draws.signals):
                round_group[f"readings/{subcircuit}"] = signals.astype(np.int16)


def read_record(file: PlainGroup, subcircuits: Sequence[Subcircuit]) -> SamplingRecord:
    """Return the record of a run with shots.

    Raises:
        ValueError: If anything in it is not what a run writes.
    """
    group = file["sampling"]
    pieces = [file[f"subcircuits/{number}"] for number in range(len(subcircuits))]
    uses = [_or_none(piece.attrs["source"]) for piece in pieces]
    sources = tuple(
        SampledTensor(
            subcircuits[uses.index(number)],
            tuple(
                parse_string(decode_text(string), int(source.attrs["num_qubits"]), "strings")
                for string in source["strings"][()]
            ),
            bool(source.attrs["lean"]),
        )
        for number, source in enumerate(numbered_groups(group["sources"]))
    )
    parts = tuple(_or_none(piece.attrs["part"]) for piece in pieces)
    if not {use for use in uses if use is not None} <= set(range(len(sources))):
        raise ValueError(f"{group.name}: a subcircuit has a source that is not there")
    mode = str(group.attrs["mode"])
    rounds: list[Any] = []
    for measured in numbered_groups(group["rounds"]):
        weight = float(measured.attrs["weight"])
        if not 0 < weight < math.inf:
            raise ValueError(f"{measured.name}: its weight is {weight}, expected a number above 0")
        groups = [measured[f"sources/{number}"] for number in range(len(sources))]
        counts = tuple(map(_read_counts, groups))
        if mode == "enumerated":
            inversions = tuple(map(_read_inversions, groups, sources, counts))
            rounds.append(ShotRound(weight, inversions, counts))
        else:
            tensors = [None if use is None else sources[use] for use in uses]
            drawn = _read_drawn(measured, subcircuits, tensors, len(set(parts) - {None}))
            rows = tuple(
                read_numbers(
                    source_group["variants"], (len(source_counts), len(tensor.shape)), "iu"
                )
                for source_group, source_counts, tensor in zip(groups, counts, sources, strict=True)
            )
            rounds.append(JointRound(weight, drawn, rows, counts))
    return SamplingRecord(
        "enumerated" if mode == "enumerated" else "joint",
        check_fingerprint(json.loads(group.attrs["identity"])),
        sources,
        tuple(uses),
        parts,
        tuple(rounds),
    )


def _read_inversions(group: PlainGroup, tensor: SampledTensor, counts: Counts) -> Inversions:
    """Return the inversion matrix that was chosen for each port of a source, by its index.

    Raises:
        ValueError: If a port has no such matrix, or the counts are not those of all variants.
    """
    inversions = tuple(map(int, group.attrs["recipes"]))
    fits = len(inversions) == len(tensor.port_bases) and all(
        0 <= inversion < len(port_basis.inversions)
        for inversion, port_basis in zip(inversions, tensor.port_bases, strict=False)
    )
    if not fits or len(counts) != tensor.num_variants:
        raise ValueError(f"{group.name}: its recipes or counts are not those of the subcircuit")
    return inversions


def _read_drawn(
    measured: PlainGroup,
    subcircuits: Sequence[Subcircuit],
    tensors: Sequence[SampledTensor | None],
    parts: int,
) -> JointDraws:
    """Return the joint samples of a round.

    Args:
        measured: Group of the round.
        subcircuits: All subcircuits.
        tensors: The source of each subcircuit; None if no term depends on it.
        parts: Number of connected parts.

    Raises:
        ValueError: If they do not fit the subcircuits, or each other.
    """
    factors = [read_numbers(measured[f"factors/{part}"], (None,)) for part in range(parts)]
    samples = len(factors[0]) if factors else None
    signals = []
    for number, (subcircuit, tensor) in enumerate(zip(subcircuits, tensors, strict=True)):
        dataset = measured[f"readings/{number}"]
        indices = read_numbers(dataset, (samples, len(subcircuit.ports)), "iu").astype(np.intp)
        limits = [1] * indices.shape[1]
        if tensor is not None:
            limits = [len(port_basis.signals) for port_basis in tensor.port_bases]
        if ((indices < 0) | (indices >= np.array(limits, dtype=np.intp))).any():
            raise ValueError(f"{dataset.name}: has readings that no port gives")
        signals.append(indices)
    if not samples or any(
        len(factor) != samples or not np.isfinite(factor).all() for factor in factors
    ):
        raise ValueError(f"{measured.name}: its factors and readings do not fit together")
    return JointDraws(tuple(factors), tuple(signals))


def _write_source(tensor: SampledTensor, group: h5py.Group, with_variants: bool) -> None:
    """Write the variants of a source, and the bits from whose signs its entries are estimated.

    Args:
        tensor: The source.
        group: Where to write.
        with_variants: Whether all variants are run in every round, so that they are listed here.
    """
    group.attrs["num_qubits"] = tensor.subcircuit.num_qubits
    group.attrs["lean"] = tensor.lean
    group.attrs["ports"] = json.dumps(
        [
            {
                "port": number,
                "kind": port.kind,
                "dimension": port.dimension,
                "settings": [setting.name for setting in port_basis.settings],
                "readings": [
                    [setting, bit if signed else None] for setting, signed in port_basis.signals
                ],
            }
            for number, port, port_basis, bit in zip(
                tensor.port_numbers, tensor.ports, tensor.port_bases, tensor.port_bits, strict=True
            )
        ]
    )
    group["strings"] = pauli_texts(tensor.strings, tensor.subcircuit.num_qubits)
    group["masks"] = tensor.string_masks
    group["projector_masks"] = tensor.projector_masks
    group["projector_values"] = tensor.projector_values
    bases = (tuple(sorted(basis.items())) for basis in tensor.bases)
    group["bases"] = pauli_texts(bases, tensor.subcircuit.num_qubits)
    reads = np.zeros((len(tensor.bases), len(tensor.strings)), dtype=bool)
    for basis, strings in enumerate(tensor.measured_strings):
        reads[basis, list(strings)] = True
    group["reads"] = reads
    if with_variants:
        group["variants"] = VariantBatch.of_all(tensor, np.zeros(0, dtype=np.int64)).rows


def _write_counts(counts: Counts, group: h5py.Group) -> None:
    group["shots"] = counts.shots
    group["starts"] = counts.starts
    group["outcomes"] = _narrow(counts.outcomes)
    group["times"] = _narrow(counts.frequencies)


def _read_counts(group: PlainGroup) -> Counts:
    outcomes, times, starts = (
        read_numbers(group[name], (None,), "iu") for name in ("outcomes", "times", "starts")
    )
    starts = starts.astype(np.int64)
    ends = starts[[0, -1]].tolist() if len(starts) else []
    if ends != [0, len(outcomes)] or len(times) != len(outcomes) or (np.diff(starts) < 0).any():
        raise ValueError(f"{group.name}: starts, outcomes and times do not fit together")
    if (times < 1).any():
        raise ValueError(f"{group.name}: an outcome came less than once")
    return Counts(outcomes.astype(np.uint64), times.astype(np.int64), starts)


def _narrow(numbers: NDArray[Any]) -> NDArray[Any]:
    """Return non-negative integers with the smallest dtype that holds them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


def _or_none(number: Any) -> int | None:
    return None if number == _NONE else int(number)
