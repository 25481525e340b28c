"""Contractions of random tensors, choice by choice and slice by slice, against NumPy's einsum."""

from __future__ import annotations

import numpy as np
import pytest

from hpcq.core.errors import MemoryLimitError
from hpcq.reconstruction.outcomes.open_contraction import OpenContraction, Scaled

_LEGS = ((0, 1, 5), (1, 2, 3), (2, 4), (0, 3, 4, 6), ())
_SIZES = (2, 3, 2, 4, 3, 3, 2)


@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize("output", [(6, 5), (5, 6)])
def test_choices_are_contracted_like_by_einsum(output: tuple[int, ...], share: float) -> None:
    rng = np.random.default_rng(1)
    whole = OpenContraction.within(_LEGS, _SIZES, output, 1 << 20, 16)
    assert not whole.sliced
    memory = int(share * 16 * whole.entries)
    contraction = OpenContraction.within(_LEGS, _SIZES, output, memory, 16)
    assert bool(contraction.sliced) == (share < 1)
    tensors, rows = [], []
    for number, legs in enumerate(_LEGS):
        shape = (number + 2, *(_SIZES[leg] for leg in legs))
        tensors.append(rng.normal(size=shape) + 1j * rng.normal(size=shape))
        # Exponents of rows of their own, one row of zeros.
        tensors[-1] *= 2.0 ** rng.integers(-40, 40, size=(len(tensors[-1]), *[1] * len(legs)))
        rows.append(rng.integers(0, number + 2, size=30))
    tensors[1][0] = 0
    found = contraction.contract(tensors, rows)
    values = found.values * 2.0 ** found.exponents[:, None, None]
    for choice in range(30):
        operands: list[object] = []
        for tensor, legs, row in zip(tensors, _LEGS, rows, strict=True):
            operands += [tensor[row[choice]], list(legs)]
        expected = np.einsum(*operands, list(output))
        np.testing.assert_allclose(values[choice], expected, rtol=1e-10, atol=0)
    assert not values[rows[1] == 0].any()


def test_what_never_fits_is_refused() -> None:
    with pytest.raises(MemoryLimitError, match="memory: the contraction of 5 subcircuits needs"):
        OpenContraction.within(_LEGS, _SIZES, (5, 6), 1, 16)


def test_numbers_out_of_the_range_of_floats_are_added() -> None:
    tiny = Scaled(np.array([[0.5], [0.5]]), np.array([-5000, -5000]))
    other = Scaled(np.array([[0.25], [0.5]]), np.array([-4999, 3]))
    total = tiny + other
    assert total.exponents.tolist() == [-4999, 3]
    assert total.values.ravel().tolist() == [0.5, 0.5]
