"""The primitives that need no qiskit-algorithms work without it; the others say what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
sys.modules["qiskit_algorithms"] = None  # as if it were not installed
import hpcq
from hpcq.primitives import Estimator, EstimatorGradient
try:
    EstimatorGradient(Estimator())
except hpcq.MissingDependencyError as error:
    print(error)
"""


@pytest.mark.slow
def test_what_is_missing_is_said_when_it_is_needed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "pip install 'hpcq[algorithms]'" in done.stdout


@pytest.mark.slow
def test_importing_the_primitives_does_not_import_it() -> None:
    script = "import hpcq.primitives, sys; print('qiskit_algorithms' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
