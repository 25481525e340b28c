"""The layers of docs/architecture.md; the contracts are in pyproject.toml."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.launch import ROOT

pytest.importorskip("importlinter")

_LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def test_no_import_goes_up_sideways_or_in_a_circle() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LINT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([\w/*]+(?:/|\.py))`", text)
    for name in named:
        assert any(any(folder.glob(name.rstrip("/"))) for folder in (ROOT, ROOT / "hpcq")), name
    assert len(named) > 30
