"""Circuit files: every format is read, and no file does harm."""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qasm2, qasm3, qpy
from qiskit.circuit.library import MCXGate, PauliEvolutionGate, QFTGate, UnitaryGate
from qiskit.quantum_info import Operator, SparsePauliOp, random_unitary

from hpcq.circuits import reader as circuits
from hpcq.circuits import sandbox
from hpcq.circuits.normalise import normalise
from hpcq.circuits.reader import read_circuit, start_reader
from hpcq.circuits.reader_forks import ReaderForks
from hpcq.core.errors import InputError, MissingDependencyError

ROOT = Path(__file__).parents[2]
QASM2 = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3]; creg c[2];\n'
QASM3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[3] q;\n'
SECONDS = 2.0
"""Time limit on reading a hostile file; some are read until it is over."""


@pytest.fixture(autouse=True)
def quick_readers() -> None:
    """Start readers as users do."""


def qpy_bytes(*programs: QuantumCircuit, **options: int) -> bytes:
    buffer = io.BytesIO()
    qpy.dump(list(programs), buffer, **options)
    return buffer.getvalue()


def sample() -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(2, "b"), QuantumRegister(2, "a"), ClassicalRegister(4))
    circuit.h(0)
    circuit.cx(0, 2)
    circuit.rx(0.3, 3)
    circuit.ccx(0, 1, 3)
    circuit.rzz(0.4, 1, 2)
    circuit.barrier()
    circuit.measure(range(4), range(4))
    return circuit


def rich() -> QuantumCircuit:
    circuit = QuantumCircuit(4, global_phase=0.3)
    circuit.append(UnitaryGate(random_unitary(8, seed=3)), [0, 2, 3])
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XX", "ZZ"]), 0.2), [1, 2])
    circuit.append(MCXGate(3, ctrl_state=2), range(4))
    circuit.append(QFTGate(3), [0, 1, 2])
    circuit.append(MCXGate(2).control(1, annotated=True), range(4))
    return circuit


BEYOND_QELIB1 = QuantumCircuit(3)
BEYOND_QELIB1.ecr(0, 1)
BEYOND_QELIB1.rzx(0.2, 1, 2)
BEYOND_QELIB1.sx(0)
BEYOND_QELIB1.cp(0.3, 0, 2)
BEYOND_QELIB1.append(QFTGate(2), [0, 1])
SAMPLE = Operator(sample().remove_final_measurements(inplace=False))
WELCOME = {
    "sample.qasm": (qasm2.dumps(sample()), SAMPLE),
    "exported.qasm": (qasm2.dumps(BEYOND_QELIB1), Operator(BEYOND_QELIB1)),
    "sample3.qasm": (qasm3.dumps(sample()), SAMPLE),
    "sample.qpy": (qpy_bytes(sample()), SAMPLE),
    "sample13.qpy": (qpy_bytes(sample(), version=13), SAMPLE),
    "rich.qpy": (
        qpy_bytes(rich()),
        Operator(rich().decompose(gates_to_decompose="PauliEvolution")),
    ),
    "bom.qasm": ("\ufeff// a comment\n" + QASM2 + "x q[1];", Operator.from_label("IXI")),
    "comment.qasm": (
        QASM2 + '// include "/etc/hostname";\nx q[0];',
        Operator.from_label("IIX"),
    ),
    "block.qasm": (
        '/* OPENQASM 2.0; */ OPENQASM 3.0;\n/* include "x"; */ include "stdgates.inc";\n'
        "qubit[2] q; negctrl @ x q[0], q[1]; inv @ s q[0]; gphase(0.5);",
        None,
    ),
}


@pytest.fixture(scope="module")
def read_all(tmp_path_factory: pytest.TempPathFactory) -> dict[str, QuantumCircuit]:
    folder = tmp_path_factory.mktemp("welcome")
    for name, (content, _) in WELCOME.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    started = {name: start_reader(folder / name, seconds=20) for name in WELCOME}
    return {name: reading.result() for name, reading in started.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WELCOME))
def test_formats(name: str, read_all: dict[str, QuantumCircuit]) -> None:
    found, expected = read_all[name], WELCOME[name][1]
    assert found.num_clbits == 0
    assert all(len(step.qubits) <= 2 for step in found.data)
    if name == "exported.qasm":  # Qiskit's exporter leaves out the global phase
        assert Operator(found).equiv(expected)
    elif expected is not None:
        assert np.abs(Operator(found).data - expected.data).max() < 1e-10


@pytest.mark.slow
def test_a_file_gives_what_normalise_gives(read_all: dict[str, QuantumCircuit]) -> None:
    assert read_all["sample.qpy"] == normalise(sample())


def doubling(head: str, levels: int) -> str:
    lines = [f"gate g{i} x {{g{i - 1} x; g{i - 1} x;}}" for i in range(1, levels)]
    return head + "gate g0 x {h x;}\n" + "\n".join(lines) + f"\ng{levels - 1} q[0];"


def chain(head: str, levels: int) -> str:
    lines = [f"gate g{i} x {{g{i - 1} x;}}" for i in range(1, levels)]
    return head + "gate g0 x {h x;}\n" + "\n".join(lines) + f"\ng{levels - 1} q[0];"


GOOD = qpy_bytes(sample())
NOT_UNITARY = QuantumCircuit(1)
NOT_UNITARY.append(UnitaryGate([[1, 1], [0, 1]], check_input=False), [0])
HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "is empty"),
    "blank": ("  // nothing\n", "does not start like a circuit"),
    "no header": ("qreg q[2];", "does not start like a circuit"),
    "version 4": ("OPENQASM 4.0; qubit q;", "is OpenQASM 4"),
    "latin-1": (QASM2.encode() + b"// \xe9\n", "not UTF-8"),
    "utf-16": (QASM2.encode("utf-16"), "not UTF-8"),
    "null": (QASM2 + "\0", "null"),
    "pickle": (pickle.dumps({"a": os.getcwd}), "pickle"),
    "pickle as qpy": (b"QISKIT" + pickle.dumps(os.getcwd), "QPY version 128"),
    "register": ("OPENQASM 2.0; qreg q[1000000000];", "too large a register"),
    "register 3": ("OPENQASM 3.0; qubit[1_000_000_000] q;", "too large a register"),
    "register product": ("OPENQASM 3.0; qubit[40000*50000] q;", "reading took|needs more"),
    "registers": ("OPENQASM 2.0;" + "".join(f"qreg q{i}[50000];" for i in range(99)), "too large"),
    "physical": ("OPENQASM 3.0; U(0,0,0) $999999999;", "reading took|needs more|valid"),
    "include": (QASM2 + 'include "/etc/hostname";', "line 4 includes '/etc/hostname'"),
    "include 3": (QASM3 + "include '/etc/hostname';", "line 4 includes '/etc/hostname'"),
    "include split": (QASM2 + 'include // "qelib1.inc"\n "../x";', r"includes '\.\./x'"),
    "include return": (QASM2 + '// \r include "/etc/hostname";', "includes '/etc/hostname'"),
    "truncated": (QASM2 + "cx q[0", "line 4, column 4"),
    "truncated 3": (QASM3 + "cx q[0", "line 4, column 6"),
    "infinite": (QASM2 + "rx(1e400) q[0];", "'rx' on qubit 0 .* is inf"),
    "infinite 3": (QASM3 + "rx(1e400) q[0];", "'rx' on qubit 0 .* is inf"),
    "zero by zero": (QASM2 + "rx(0/0) q[0];", "divide by zero"),
    "zero by zero 3": (QASM3 + "rx(0.0/0.0) q[0];", "division by zero"),
    "inner zero": (QASM2 + "gate g(a) x {rx(1/a) x;} g(0) q[0];", "'g' on qubit 0"),
    "panic": (QASM2 + "h q[99999999999999999999999];", "not a valid OpenQASM 2"),
    "bomb": (doubling(QASM2, 60), "'g59' on qubit 0 .* 5000000 operations"),
    "bomb 3": (doubling(QASM3, 60), "reading took|operations|needs more"),
    "deep gates": (chain(QASM2, 300), "nested more than 200 levels"),
    "broadcast": (
        'OPENQASM 2.0; include "qelib1.inc"; qreg q[100000];' + "h q;" * 5000,
        "reading took|needs more",
    ),
    "deep 3": (QASM3 + "rx(" + "(" * 20000 + "1" + ")" * 20000 + ") q[0];", "reading|nested|broke"),
    "many ids": (QASM2 + "u0(1000000000) q[0];", "reading took|needs more"),
    "long loop": (QASM3 + "for int i in [0:1000000000000] { h q[0]; }", "'for_loop' on qubit 0"),
    "power": (QASM3 + "pow(1e308) @ h q[0];", "valid|cannot be used"),
    "controls": (QASM3 + "ctrl(1000000000000) @ x q[0], q[1];", "needs more|valid|broke|reading"),
    "literal": (QASM3 + "rx(" + "9" * 100_000 + ") q[0];", "digits"),
    "input": (QASM3 + "input bool a; if (a) x q[0];", "only 'float' and 'angle' inputs"),
    "opaque": (QASM2 + "opaque foo(a) x; foo(1) q[2];", "'foo' on qubit 2"),
    "feed-forward": (QASM2 + "measure q[0]->c[0]; if (c==1) x q[1];", "'if_else' on qubit 1"),
    "mid-circuit": (QASM2 + "measure q[0]->c[0]; h q[0];", "'measure' on qubit 0 .* 'h'"),
    "reset": (QASM2 + "h q[1]; reset q[1];", "'reset' on qubit 1"),
    "no qubits": ("OPENQASM 3.0;", "0 qubits"),
    "escape": (QASM2 + "\x1b[31m q[0];", "line 4"),
    "qpy newer": (GOOD[:6] + b"\xfa" + GOOD[7:], "QPY version 250"),
    "qpy two": (qpy_bytes(sample(), sample()), "holds 2 circuits, expected one"),
    "qpy none": (GOOD[:10] + struct.pack("!Q", 0) + GOOD[18:], "holds 0 circuits"),
    "qpy many": (GOOD[:10] + struct.pack("!Q", 2**60) + GOOD[18:], "expected one"),
    "qpy header": (GOOD[:9], "inside its header"),
    "qpy truncated": (GOOD[:-40], "not a valid QPY file"),
    "qpy no qubits": (qpy_bytes(QuantumCircuit()), "0 qubits"),
    "qpy not unitary": (qpy_bytes(NOT_UNITARY), "'unitary' on qubit 0 .* not unitary"),
}


@pytest.fixture(scope="module")
def refusals(
    tmp_path_factory: pytest.TempPathFactory, forks: ReaderForks
) -> dict[str, tuple[str, float, int]]:
    """The line, the seconds and the peak bytes of each hostile file; two are read at a time."""
    folder = tmp_path_factory.mktemp("hostile")

    def attempt(name: str) -> tuple[str, float, int]:
        content = HOSTILE[name][0]
        path = folder / name.replace(" ", "-")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        start, peak = time.monotonic(), 0
        try:
            reading = start_reader(path, seconds=SECONDS)
            with ThreadPoolExecutor(1) as waiter:
                answer = waiter.submit(reading.result)
                while not answer.done():
                    peak = max(peak, peak_bytes(reading._process.pid))
                    time.sleep(0.01)
            circuit = answer.result()
        except InputError as error:
            return str(error), time.monotonic() - start, peak
        return f"read as {circuit.num_qubits} qubits", time.monotonic() - start, peak

    with ThreadPoolExecutor(2) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(circuits, "_forks", forks)  # only what they do is of interest
        return dict(zip(HOSTILE, pool.map(attempt, HOSTILE), strict=True))


def peak_bytes(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0][1]) << 10 if lines else 0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_files(name: str, refusals: dict[str, tuple[str, float, int]]) -> None:
    line, seconds, peak = refusals[name]
    assert re.search(HOSTILE[name][1], line), line
    assert line.isprintable()
    assert len(line) < 600
    assert seconds < SECONDS + 2.5
    assert peak < (1 << 30) - (256 << 20)  # what is left belongs to the parent


def test_what_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    wrong: dict[str | Path, str] = {
        tmp_path: "is a directory",
        tmp_path / "missing": "cannot be opened: No such file",
        pipe: "is a pipe, socket or device",
        "/dev/zero": "is a pipe, socket or device",
        "": "the path is empty",
        "a\0b": "cannot be opened",
    }
    for path, words in wrong.items():
        with pytest.raises(InputError, match=words) as caught:
            start_reader(path)
        assert str(caught.value).isprintable()


def test_too_large_files_are_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.qasm"
    with path.open("wb") as file:
        file.truncate(circuits.MAX_FILE_BYTES + 1)
    with pytest.raises(InputError, match=f"expected at most {circuits.MAX_FILE_BYTES}"):
        start_reader(path)


def test_local_files_do_not_replace_the_standard_include(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "qelib1.inc").write_text("gate h a { x a; }")
    (tmp_path / "json.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    Path("c.qasm").write_text(QASM2 + "h q[0];")
    assert [step.name for step in read_circuit("c.qasm").data] == ["h"]


def test_a_reading_can_be_given_up(tmp_path: Path) -> None:
    path = tmp_path / "c.qasm"
    path.write_text(QASM2 + "h q[0];")
    with start_reader(path) as reading:
        assert reading._process.poll() is None
    assert reading._process.poll() is not None


def test_the_child_sees_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "MPIR_X"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/kept")
    kept = circuits._environment()
    assert not [name for name in kept if name.startswith(("PMI", "OMPI", "SLURM", "MPIR"))]
    assert kept["LD_LIBRARY_PATH"] == "/kept"
    assert kept["OMP_NUM_THREADS"] == "1"


@pytest.mark.slow
def test_a_missing_importer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.qasm"
    path.write_text(QASM3 + "h q[0];")
    hide = "import sys; sys.modules['qiskit_qasm3_import'] = None; "
    monkeypatch.setattr(circuits, "_BOOT", hide + circuits._BOOT)
    with pytest.raises(MissingDependencyError, match="pip install qiskit_qasm3_import"):
        read_circuit(path)


def test_a_reader_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.qasm"
    path.write_text(QASM2 + "h q[0];")
    monkeypatch.setattr(circuits, "_BOOT", "import no_such_module")
    with pytest.raises(MissingDependencyError, match="no_such_module"):
        read_circuit(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/hostname')",
        "open(os.devnull, 'w')",
        "os.open('/tmp/x', os.O_RDWR | os.O_CREAT)",
        "os.system('true')",
        "os.execv('/bin/true', ['true'])",
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "subprocess.run(['true'])",
        "socket.socket()",
        "pickle.loads(PAYLOAD)",
        "ctypes.CDLL('libc.so.6')",
        "os.remove('/tmp/x')",
    ],
)
def test_the_confined_process_may_do_nothing(attempt: str) -> None:
    code = f"""
import ctypes, os, pickle, socket, subprocess, sys
PAYLOAD = pickle.dumps(os.getcwd)
from hpcq.circuits.sandbox import _confine
_confine(20.0, 1 << 30)
try:
    {attempt}
except PermissionError as error:
    os._exit(0 if "while a circuit is read" in str(error) else 3)
os._exit(4)
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert ended.returncode == 0


def test_modules_can_still_be_imported_in_the_confined_process() -> None:
    code = "from hpcq.circuits.sandbox import _confine; _confine(20.0, 1 << 30); "
    code += "import decimal, xmlrpc"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_limits_reach_compiled_code() -> None:
    code = "from hpcq.circuits.sandbox import _confine; _confine(0.3, 1 << 30); sum(range(10**12))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=10)
    assert -ended.returncode == 14  # SIGALRM
    assert sandbox.DONE == 0
