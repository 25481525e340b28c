"""Nothing that hpcq requires or ships is under the GPL, and THIRD-PARTY.md names it all."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from tests.support.licences import EXTRAS, GPL_TEXTS, UNKNOWN, canonical, direct, fault, required

ROOT = Path(__file__).parents[1]
REQUIRED = required(EXTRAS)
INSTALLED = {name: dist for name, dist in REQUIRED.items() if dist is not None}


@pytest.mark.parametrize("name", sorted(INSTALLED))
def test_nothing_required_is_under_the_gpl(name: str) -> None:
    assert fault(INSTALLED[name]) is None


def test_the_walk_goes_through_all_levels() -> None:
    assert {"qiskit", "rustworkx", "numpy", "cotengra", "autoray", "qiskit-aer"} <= set(INSTALLED)
    assert "pytest" not in REQUIRED
    assert "kahypar" not in REQUIRED


def named() -> set[str]:
    """The distributions in the tables of THIRD-PARTY.md."""
    text = (ROOT / "THIRD-PARTY.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    return {canonical(name.strip()) for cell in cells for name in cell.split(",")}


def test_third_party_names_all_that_is_required() -> None:
    wanted = {canonical(requirement.name) for requirement in direct((*EXTRAS, "gpu"))}
    assert wanted | set(REQUIRED) <= named()


def test_what_is_excused_is_explained_there() -> None:
    text = (ROOT / "THIRD-PARTY.md").read_text(encoding="utf-8")
    for name in (*GPL_TEXTS, *UNKNOWN, "libgfortran", "libgomp", "libquadmath"):
        assert name in text


def test_the_container_installs_nothing_else() -> None:
    text = (ROOT / "jobscripts" / "hpcq.def").read_text(encoding="utf-8")
    (post,) = re.findall(r"^%post\n(.*?)^%", text, re.MULTILINE | re.DOTALL)
    installs = [line.strip() for line in post.splitlines() if "install" in line]
    (extras,) = re.findall(r"pip install --no-cache-dir '/opt/hpcq\[([\w,]+)\]'$", *installs)
    assert set(extras.split(",")) <= set(EXTRAS)
    assert "LICENSE /opt/hpcq/" in text
    assert "THIRD-PARTY.md /opt/hpcq/" in text


def fake(folder: Path, metadata: str, files: dict[str, str]) -> PathDistribution:
    info = folder / "fake-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: fake\nVersion: 1.0\n{metadata}")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in files))
    return PathDistribution(info)


LICENSE = "fake-1.0.dist-info/licenses/COPYING"
GCC = "GNU GENERAL PUBLIC LICENSE\n... GCC RUNTIME LIBRARY EXCEPTION ..."
REFUSED = {
    "expression": ("License-Expression: GPL-3.0-or-later\n", {}, "GPL-3.0"),
    "and": ("License-Expression: MIT AND GPL-2.0-only\n", {}, "GPL-2.0"),
    "affero": ("License-Expression: AGPL-3.0-only\n", {}, "AGPL"),
    "field": ("License: GNU GPLv3\n", {}, "GPLv3"),
    "classifier": (
        "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)\n",
        {},
        "GPLv3",
    ),
    "file": ("License-Expression: MIT\n", {LICENSE: "GNU GENERAL PUBLIC LICENSE\n"}, "COPYING"),
    "nothing": ("", {}, "says nothing"),
    "library": (
        "License-Expression: MIT\n",
        {"fake.libs/libreadline-1a2b.so.8": ""},
        "libreadline-1a2b.so.8",
    ),
}


@pytest.mark.parametrize(("metadata", "files", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_the_gpl_is_found_wherever_it_is_said(
    metadata: str, files: dict[str, str], reason: str, tmp_path: Path
) -> None:
    found = fault(fake(tmp_path, metadata, files))
    assert found is not None
    assert reason in found


FINE = {
    "mit": ("License-Expression: MIT\n", {}),
    "choice": ("License-Expression: MIT OR GPL-2.0-only\n", {}),
    "choice of three": ("License-Expression: BSD-3-Clause AND (MIT OR GPL-2.0-only)\n", {}),
    "exception": ("License-Expression: MIT AND GPL-3.0-or-later WITH GCC-exception-3.1\n", {}),
    "lesser": ("License: LGPLv3+\n", {LICENSE: "GNU LESSER GENERAL PUBLIC LICENSE\nthe GNU GPL"}),
    "file alone": ("", {LICENSE: "MIT License\n"}),
    "GCC's libraries": ("License: BSD\n", {LICENSE: GCC, "fake.libs/libgfortran-0a.so.5": ""}),
}


@pytest.mark.parametrize(("metadata", "files"), FINE.values(), ids=FINE.keys())
def test_other_licences_pass(metadata: str, files: dict[str, str], tmp_path: Path) -> None:
    assert fault(fake(tmp_path, metadata, files)) is None


@pytest.mark.slow
def test_a_search_imports_no_kahypar_even_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "kahypar.py").write_text("raise SystemExit('kahypar was imported')\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import hpcq; from qiskit import QuantumCircuit\n"
        "c = QuantumCircuit(12)\n"
        "for a in range(12):\n"
        "    for step in (1, 3):\n"
        "        c.rzz(0.3, a, (a + step) % 12)\n"
        "    c.rx(0.4, a)\n"
        "plan = hpcq.plan(c, 'X' * 12, max_qubits=5, search_seconds=0.2, threads=1)\n"
        "assert plan.cuts.gates and 'kahypar' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
