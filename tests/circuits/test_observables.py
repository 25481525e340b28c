"""Observables from text, JSON and Qiskit objects."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.circuit import Parameter
from qiskit.quantum_info import Pauli, SparseObservable, SparsePauliOp

from hpcq.circuits.observables import (
    Observable,
    as_observables,
    dense_label,
    parse_observable,
    read_observables,
    render,
)
from hpcq.core.errors import InputError

Z0, X2 = ((0, "Z"),), ((2, "X"),)
OUTCOME = tuple(enumerate("101000"))
PLUS = ((0, "+"), (1, "+"), (2, "+"))


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Z0", ((Z0, 1.0),)),
        ("-Z0", ((Z0, -1.0),)),
        ("Z0 Z5 + 0.5 X2", ((((0, "Z"), (5, "Z")), 1.0), (X2, 0.5))),
        ("Z5*Z0", ((((0, "Z"), (5, "Z")), 1.0),)),
        ("X1Z2", ((((1, "X"), (2, "Z")), 1.0),)),
        ("2*X1 X2 - 1e-3 Z3", ((((1, "X"), (2, "X")), 2.0), (((3, "Z"),), -1e-3))),
        ("0.5X2", ((X2, 0.5),)),
        ("Z0 + -.5 * X2", ((Z0, 1.0), (X2, -0.5))),
        ("\N{MINUS SIGN}Z0", ((Z0, -1.0),)),
        ("ZIIXII", ((((2, "X"), (5, "Z")), 1.0),)),
        ("2 IIIIIZ - 3 IIIXII", ((Z0, 2.0), (X2, -3.0))),
        ("I", (((), 1.0),)),
        ("IIIIII", (((), 1.0),)),
        ("1.5 + Z0 I3", (((), 1.5), (Z0, 1.0))),
        ("Z0 + X2 + 3 Z0", ((Z0, 4.0), (X2, 1.0))),
        ("2 + Z0", (((), 2.0), (Z0, 1.0))),
        ("1 Z0", ((Z0, 1.0),)),
        ("0 Z0", ((Z0, 0.0),)),
        ("111111 Z0", ((Z0, 111111.0),)),
        ("Z0 - 111111 I", ((Z0, 1.0), ((), -111111.0))),
        ("000101", ((OUTCOME, 1.0),)),
        (" 000101 ", ((OUTCOME, 1.0),)),
        ("label:000101", ((OUTCOME, 1.0),)),
        ("label:IZ-lI+", ((((0, "+"), (2, "l"), (3, "-"), (4, "Z")), 1.0),)),
        ("label:IZ\N{MINUS SIGN}lI+", ((((0, "+"), (2, "l"), (3, "-"), (4, "Z")), 1.0),)),
        ("label:IIIIII", (((), 1.0),)),
        ("label:IIIXII - Z0", ((X2, 1.0), (Z0, -1.0))),
        ("0.5 label:III+++ - 2*label:000101", ((PLUS, 0.5), (OUTCOME, -2.0))),
    ],
)
def test_text(text: str, terms: Any) -> None:
    assert parse_observable(text, 6).terms == terms


def test_a_lone_letter_is_a_label_of_one_qubit() -> None:
    assert parse_observable("Z", 1).terms == ((Z0, 1.0),)
    with pytest.raises(InputError, match="has 1 letters, but the circuit has 2 qubits"):
        parse_observable("Z", 2)


NUMBERS = ("3", "1.5", "1111", "1e3", "-2", "0", "-000101", "+000101", "1 + 2", "000.01")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("+", "missing or unfinished"),
        ("Z0 +", "missing or unfinished"),
        ("2 *", "missing or unfinished"),
        ("* Z0", "misplaced"),
        ("Z0 ** Z1", "misplaced"),
        ("Z0 0.5", "misplaced number"),
        ("Z0 Z0", "names qubit 0 twice"),
        ("Z0 I0", "names qubit 0 twice"),
        ("Z6", "qubit 6 is out of range, the circuit has 6 qubits"),
        ("Z" + "9" * 5000, "out of range"),
        ("A0", "unexpected 'A'"),
        ("z0", "unexpected 'z', expected Paulis as capital letters"),
        *((text, "a number alone is not an observable") for text in NUMBERS),
        ("1111 + Z0", "'1111 I' for the number or 'label:1111' for the outcome"),
        ("Z0 - 000101", "'label:000101' for the outcome"),
        ("0.5 000101", "an outcome in a sum is written 'label:000101'"),
        ("0.5 * 000101 + Z0", "an outcome in a sum is written 'label:000101'"),
        ("0101Z0", "'0101' runs into 'Z0', expected a space or '*' between them"),
        ("0Z1", "'label:0Z1' for a label with projectors"),
        ("label:", "label '' has 0 letters"),
        ("label: 000101", "label '' has 0 letters"),
        ("label:0001", "label '0001' has 4 letters, but the circuit has 6 qubits"),
        (
            "label:000101-Z0",
            "label '000101-Z0' has 9 letters, but the circuit has 6 qubits; it ends",
        ),
        ("label:00010i", "label '00010i' has the letter 'i', expected I X Y Z 0 1 + - r l"),
        ("label:000101*2", "has the letter '*'"),
        ("LABEL:000101", "unexpected 'L'"),
        ("label:000101 Z0", "stands alone"),
        ("Z0 label:000101", "stands alone"),
        ("000102", "a number alone is not an observable"),
        ("0001", "one for each of the 6 qubits"),
        ("\N{EN DASH}Z0", "unexpected '\N{EN DASH}'"),
        ("ZZ1", "'ZZ1' mixes a label with a qubit number"),
        ("ZIX", "has 3 letters, but the circuit has 6 qubits"),
        ("ZIIXII Z0", "stands alone"),
        ("Z0 ZIIXII", "stands alone"),
        ("ZZ0", "mixes a label with a qubit number"),
        ("1j Z0", "real"),
        ("(1+2j) Z0", "unexpected '('"),
        ("nan Z0", "unexpected 'n'"),
        ("1e400 Z0", "not finite"),
        ("1e308 Z0 + 1e308 Z0", "add up to more than 1.8e+308"),
        ("1e308 Z0 - 1e308 X1", "add up to more than 1.8e+308"),
        ("Z0\x1b[31m", "unexpected '\\x1b'"),
        ("Z\u0661", "unexpected '\u0661' after 'Z'"),
    ],
)
def test_bad_text(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_observable(text, 6)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_on_one_qubit_a_word_of_one_letter_is_an_outcome() -> None:
    assert parse_observable("1", 1).terms == ((((0, "1"),), 1.0),)
    assert parse_observable("1 Z0", 1).terms == ((Z0, 1.0),)
    with pytest.raises(InputError, match="'1 I' for the number"):
        parse_observable("1 + Z0", 1)


def test_imaginary_parts_of_rounding_size_are_dropped() -> None:
    operator = SparsePauliOp(["ZZ", "XX", "XX", "II"], [2 + 1e-15j, 1j, 0.5 - 1j, 1e-17j])
    (found,) = as_observables(operator, 2)
    assert [c for _, c in found.terms] == [2.0, 0.5, 0.0]


def test_an_operator_without_terms_is_zero() -> None:
    assert as_observables(SparseObservable.zero(4), 4)[0].terms == (((), 0.0),)


letters = "XYZ01+-rl"
projecting = st.dictionaries(st.integers(0, 7), st.sampled_from(letters), min_size=1).map(
    lambda factors: tuple(sorted(factors.items()))
)


@given(st.lists(st.tuples(projecting, st.floats(-9, 9)), min_size=1, max_size=4))
def test_labels_come_back(terms: Any) -> None:
    made = Observable.from_terms("made", terms)
    text = " + ".join(f"{c!r} {render(s, 8)}" for s, c in made.terms)
    assert parse_observable(text, 8).terms == made.terms
    parts = [[{"label": dense_label(s, 8)}, c] for s, c in made.terms]
    assert as_observables({"name": "made", "terms": parts}, 8) == (made,)
    labels = [(dense_label(s, 8), c) for s, c in made.terms]
    (found,) = as_observables(SparseObservable.from_list(labels), 8)
    assert dict(found.terms) == dict(made.terms)


strings = st.dictionaries(st.integers(0, 7), st.sampled_from("XYZ")).map(
    lambda factors: tuple(sorted(factors.items()))
)
sums = st.lists(st.tuples(strings, st.floats(-1e6, 1e6)), min_size=1, max_size=6)


@given(sums)
def test_both_spellings_come_back(terms: Any) -> None:
    made = Observable.from_terms("made", terms)
    assert parse_observable(str(made), 8).terms == made.terms
    dense = " + ".join(f"{c!r} {dense_label(s, 8)}" for s, c in made.terms)
    assert parse_observable(dense, 8).terms == made.terms
    assert Observable("Z0", ((Z0, 1.0),)) == parse_observable(render(Z0), 8)


@given(sums)
def test_qiskit_agrees(terms: Any) -> None:
    made = Observable.from_terms("observable 0", terms)
    labels = [(dense_label(s, 8), c) for s, c in made.terms]
    assert as_observables(SparsePauliOp.from_list(labels), 8) == (made,)
    (found,) = as_observables(SparseObservable.from_list(labels), 8)
    assert dict(found.terms) == dict(made.terms)


PIECES = ("label:", "label:01+-", "0101", *"IXYZ0123456789.+-* eEjrl\n")
"""Texts that are put together in any order, so that some are observables."""


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_observable(text, 4)
    except InputError as error:
        line = str(error)
    else:
        line = str(found)
        assert parse_observable(line, 4).terms == found.terms
    assert line.isprintable()


@pytest.mark.parametrize(
    ("name", "terms", "words"),
    [
        ("", ((Z0, 1.0),), "name"),
        ("two\nlines", ((Z0, 1.0),), "name"),
        ("n", (), "no terms"),
        ("n", ((Z0, 1),), "expected a float"),
        ("n", ((Z0, math.nan),), "expected a float"),
        ("n", ((Z0, 1.0), (Z0, 2.0)), "twice"),
        ("n", ((((1, "Z"), (0, "Z")), 1.0),), "ascending"),
        ("n", ((((0, "I"),), 1.0),), "ascending"),
        ("n", ((((0, "2"),), 1.0),), "ascending"),
        ("n", ((((True, "Z"),), 1.0),), "ascending"),
        ("n", ((((-1, "X"),), 1.0),), "ascending"),
    ],
)
def test_observables_are_validated(name: str, terms: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Observable(name, terms)


def test_accepted_objects() -> None:
    entries = [
        "Z0",
        Observable("mine", ((Z0, 2.0),)),
        {"name": "energy", "terms": [["Z0", 1], ["IIXZ", 0.5]]},
        Pauli("-XIIY"),
        SparsePauliOp(["ZIII", "IIII", "ZIII"], [1 + 0j, 2, 3]),
        SparseObservable.from_list([("XIIY", 0.5)]),
    ]
    found = as_observables(entries, 4)
    assert [o.name for o in found] == [
        "Z0", "mine", "energy", "observable 3", "observable 4", "observable 5"
    ]  # fmt: skip
    assert found[2].terms == ((Z0, 1.0), (((0, "Z"), (1, "X")), 0.5))
    assert found[3].terms == ((((0, "Y"), (3, "X")), -1.0),)
    assert found[4].terms == ((((3, "Z"),), 4.0), ((), 2.0))
    for entry, expected in zip(entries[:3], found[:3], strict=True):
        assert as_observables(entry, 4) == (expected,)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ([], "empty"),
        ([["Z0"]], r"observables\[0\]: got an object of type list"),
        (SparsePauliOp("ZZ"), "acts on 2 qubits, but the circuit has 4 qubits"),
        (SparsePauliOp("ZZII", [1j]), "expected a real number"),
        (SparsePauliOp("ZZII", [math.nan]), "finite"),
        (SparsePauliOp("ZZII", np.array([Parameter("a")])), "finite real number"),
        (Pauli("iXIII"), "must be real"),
        (SparseObservable.from_list([("0III", 1j)]), "expected a real number"),
        (SparsePauliOp(["ZZII", "IIII"], [1, 1e-9j]), "coefficient 1: coefficient is 1e-09j"),
        *((number, "number alone") for number in (3, 1.5, True, 1j, np.int64(1111), np.float64(2))),
        ([1111], r"observables\[0\]: got 1111, a number alone"),
        (np.array(3), "an object of type ndarray"),
        (b"Z0", "an object of type bytes"),
        ({"Z0", "Z1"}, "an object of type set"),
        (None, "an object of type NoneType"),
        ({"label": "Z0"}, "'Z0' has 2 letters, but the circuit has 4 qubits"),
        ({"label": "Z0zz"}, "the letter 'z', expected I X Y Z 0 1"),
        ({"label": 1111}, "label: got 1111, expected text"),
        ({"label": "Z0+-", "terms": []}, "'label'"),
        ({"name": "x", "terms": [["Z0", np.bool_(True)]]}, "coefficient is"),
        ({"name": "x", "terms": [["Z0", np.array([1.0])]]}, "coefficient is"),
        ({"name": "x", "terms": [[1111, 1.0]]}, "expected \\[Pauli string or label, number"),
        ({"name": "x", "terms": [["2", 1.0]]}, "unexpected '2'"),
        (Observable("far", ((((9, "Z"),), 1.0),)), "acts on qubit 9, but the circuit has 4 qubits"),
        ({"name": "x"}, "'terms'"),
    ],
)
def test_refused_objects(entry: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        as_observables(entry, 4)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_many_terms_are_fast() -> None:
    rng = np.random.default_rng(3)
    count, width = 20_000, 40
    labels = rng.choice(list("IXYZ"), size=(count, width), p=[0.9, 0.04, 0.03, 0.03])
    operator = SparsePauliOp(["".join(row) for row in labels], np.arange(count, dtype=float))
    start = time.process_time()
    (found,) = as_observables(operator, width)
    assert time.process_time() - start < 1.0
    assert sum(c for _, c in found.terms) == pytest.approx(count * (count - 1) / 2)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "observables.json"
    path.write_text('[{"name": "energy", "terms": [["Z0 X3", 1.0], ["IXII", 0.5]]}]')
    (found,) = read_observables(path, 4)
    assert found == Observable("energy", ((((0, "Z"), (3, "X")), 1.0), (((2, "X"),), 0.5)))


def test_labels_and_outcomes_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "observables.json"
    terms = [["0101", 0.5], [{"label": "Z0+-"}, 2], ["label:Z0+-", 1], ["Z3", 1]]
    asked = [
        {"label": "Z0+-"},
        {"name": "mine", "label": "0011"},
        {"name": "sum", "terms": terms},
    ]
    path.write_text(json.dumps(asked))
    first, second, third = read_observables(path, 4)
    mixed = ((0, "-"), (1, "+"), (2, "0"), (3, "Z"))
    assert first == Observable("label:Z0+-", ((mixed, 1.0),))
    assert second == Observable("mine", ((tuple(enumerate("1100")), 1.0),))
    outcome = tuple(enumerate("1010"))
    assert third.terms == ((outcome, 0.5), (mixed, 3.0), (((3, "Z"),), 1.0))


GOOD = {"name": "a", "terms": [["Z0", 1.0]]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"[", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff\xfe[]", "not UTF-8"),
        (b"{}", "expected a list of observables"),
        (b"[]", "expected a list of observables"),
        (b"[3]", "[0]: got a number"),
        (b'[{"name": "a", "name": "b", "terms": []}]', "'name' occurs twice"),
        (b'[{"name": "a", "terms": [["Z0", NaN]]}]', "NaN"),
        (b'[{"name": "a", "terms": [["Z0", -Infinity]]}]', "Infinity"),
        (b'[{"name": "a", "terms": [["Z0", 1e999]]}]', "[0].terms[0]: coefficient is inf"),
        (b'[{"name": "a", "terms": [["Z0", ' + b"9" * 400 + b"]]}]", "[0].terms[0]: coefficient"),
        (b'[{"name": "a", "terms": [["Z0", ' + b"9" * 9999 + b"]]}]", "not valid JSON"),
        ([GOOD, GOOD], "[1].name: 'a' is already the name of [0]"),
        ([GOOD, {"name": "b", "terms": [["Z0", 1], ["Z0", True]]}], "[1].terms[1]: coefficient"),
        ([{"name": "b", "terms": [["Z9", 1]]}], "[0].terms[0]: 'Z9': qubit 9 is out of range"),
        ([{"name": "b", "terms": [["2 Z0", 1]]}], "[0].terms[0]"),
        ([{"name": "b", "terms": [["", 1]]}], "[0].terms[0]"),
        ([{"name": "b", "terms": [["Z0", "1"]]}], "[0].terms[0]: coefficient is '1'"),
        ([{"name": "b", "terms": [["Z0"]]}], "[0].terms[0]: got ['Z0']"),
        ([{"name": "b", "terms": []}], "[0].terms: got an empty list"),
        ([{"name": 7, "terms": [["Z0", 1]]}], "[0].name: got 7"),
        ([{"name": "b\n", "terms": [["Z0", 1]]}], "[0].name"),
        ([{"name": "b", "terms": [["Z0", 1]], "extra": 1}], "[0]: has the keys"),
    ],
)
def test_bad_files(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(InputError) as caught:
        read_observables(path, 4)
    line = str(caught.value)
    assert words in line
    assert line.startswith(f"{path}: ")
    assert line.isprintable()
    assert len(line) < 600


def test_files_that_are_none(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, tmp_path / "missing", pipe, Path("/dev/zero")):
        with pytest.raises(InputError, match=r"expected observables as JSON|cannot be opened"):
            read_observables(path, 4)


def test_the_module_imports_neither_qiskit_nor_numpy() -> None:
    code = (
        "import sys, hpcq.circuits.observables, hpcq.circuits.reader\n"
        "assert not {'qiskit', 'numpy'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
