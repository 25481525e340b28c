from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from hpcq.core.errors import InputError
from hpcq.engines import gpu as gpu_module
from hpcq.engines.gpu import (
    aer_is_mpi_build,
    assign_gpu,
    check_aer_build,
    gpu_memory,
    pick_gpu,
    ranks_sharing,
    visible_gpus,
)

VARIABLE = "CUDA_VISIBLE_DEVICES"
UUID = "GPU-5ee1f4a4-0b3f-4b3e-9f2c-0123456789ab"
MIG = "MIG-5ee1f4a4-0b3f-4b3e-9f2c-0123456789ab"
OLD_MIG = f"MIG-{UUID}/1/0"

needs_gcc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not shutil.which("gcc"), reason="needs Linux and gcc"
)


@pytest.fixture
def node(tmp_path: Path) -> tuple[Path, Path]:
    """A node with GPUs 0, 1 and 3 and the files that the driver puts beside them."""
    devices, proc = tmp_path / "dev", tmp_path / "gpus"
    names = ("nvidia0", "nvidia1", "nvidia3", "nvidiactl", "nvidia-uvm", "nvidia-modeset", "null")
    devices.mkdir()
    for name in names:
        (devices / name).touch()
    (devices / "nvidia-caps").mkdir()
    for bus in ("0000:07:00.0", "0000:0f:00.0"):
        (proc / bus).mkdir(parents=True)
    return devices, proc


@pytest.mark.parametrize(
    ("listed", "gpus"),
    [
        ("", ()),
        (" ", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("none", ()),
        ("0", ("0",)),
        ("2,0", ("2", "0")),
        (" 1 , 3 ", ("1", "3")),
        ("0,-1,1", ("0",)),
        ("0,,1", ("0",)),
        ("0,1,", ("0", "1")),
        ("1,1", ()),
        ("10,1", ("10", "1")),
        (f"{UUID},GPU-abc", (UUID, "GPU-abc")),
        (f"0,{UUID}", ("0",)),
        (f"{UUID},0", (UUID,)),
        (f"{MIG},{OLD_MIG}", (MIG, OLD_MIG)),
        ("GPU-", ()),
        ("0 1", ()),
        ("--help", ()),
    ],
)
def test_the_variable_decides_as_it_does_for_cuda(
    listed: str, gpus: tuple[str, ...], node: tuple[Path, Path]
) -> None:
    assert visible_gpus({VARIABLE: listed}, *node) == gpus


def test_gpus_are_counted_where_the_variable_is_not_set(node: tuple[Path, Path]) -> None:
    devices, proc = node
    assert visible_gpus({}, devices, proc) == ("0", "1", "2")  # nvidia3 is CUDA's third
    assert visible_gpus({}, devices / "none", proc) == ("0", "1")
    assert visible_gpus({}, devices / "none", proc / "none") == ()


def test_a_device_file_that_may_not_be_opened_is_no_gpu(
    node: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = "nvidia3"
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name == allowed)
    assert visible_gpus({}, *node) == ("0",)
    allowed = ""
    assert visible_gpus({}, *node) == ()  # and the driver's entries don't bring them back


def test_gpus_are_picked_in_turn() -> None:
    assert [pick_gpu(rank, ("a", "b", "c")) for rank in range(5)] == ["a", "b", "c", "a", "b"]
    assert pick_gpu(3, ()) is None


@pytest.mark.parametrize("local_rank", range(4))
def test_taking_twice_changes_nothing(local_rank: int, node: tuple[Path, Path]) -> None:
    environment: dict[str, str] = {}
    gpu = assign_gpu(local_rank, environment, *node)
    assert gpu == str(local_rank % 3)
    assert environment == {VARIABLE: gpu}
    assert assign_gpu(local_rank, environment, *node) == gpu
    assert environment == {VARIABLE: gpu}


def test_a_gpu_bound_by_the_launcher_is_taken_whatever_the_rank() -> None:
    for local_rank, bound in enumerate(("0", "3", UUID, MIG)):
        environment = {VARIABLE: bound}
        assert assign_gpu(local_rank, environment) == bound
        assert environment == {VARIABLE: bound}


def test_a_rank_that_only_schedules_hides_all_gpus(node: tuple[Path, Path]) -> None:
    environment = {VARIABLE: "0,1"}
    for _ in range(2):
        assert assign_gpu(None, environment, *node) is None
        assert environment == {VARIABLE: ""}
    assert assign_gpu(0, environment, *node) is None
    assert environment == {VARIABLE: ""}


def test_without_gpus_the_environment_is_left_as_it_is(tmp_path: Path) -> None:
    for environment in ({}, {VARIABLE: "-1"}, {VARIABLE: "NoDevFiles"}):
        before = dict(environment)
        assert assign_gpu(1, environment, tmp_path, tmp_path) is None
        assert environment == before


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "4,5,6,7")
    assert visible_gpus() == ("4", "5", "6", "7")
    assert assign_gpu(6) == "6"
    assert os.environ[VARIABLE] == "6"


def test_ranks_sharing() -> None:
    counts = [(4, 4), (5, 4), (8, 4), (1, 4), (0, 4), (3, 0)]
    assert [ranks_sharing(ranks, gpus) for ranks, gpus in counts] == [1, 2, 2, 1, 0, 0]
    for ranks in range(12):
        for gpus in range(1, 5):
            taken = [pick_gpu(rank, "abcd"[:gpus]) for rank in range(ranks)]
            assert ranks_sharing(ranks, gpus) == max(map(taken.count, taken), default=0)


@pytest.mark.parametrize(
    ("printed", "mebibytes"),
    [
        ("81559, 80912\n", 80912),
        ("81559,81559", 81559),
        ("81559, 0\n", 0),
        ("80000, 90000\n", 80000),
        ("", None),
        ("[N/A], [N/A]\n", None),
        ("81559\n", None),
        ("81559, 80912\n81559, 80912\n", None),
        ("No devices were found\n", None),
        ("0, 0\n", None),
        ("81559, -5\n", None),
    ],
)
def test_memory_as_nvidia_smi_prints_it(printed: str, mebibytes: int | None) -> None:
    commands: list[Sequence[str]] = []

    def run_command(command: Sequence[str]) -> str:
        commands.append(command)
        return printed

    assert gpu_memory(UUID, run_command) == (None if mebibytes is None else mebibytes << 20)
    assert [" ".join(command) for command in commands] == [
        "nvidia-smi --query-gpu=memory.total,memory.free --format=csv,noheader,nounits -i " + UUID
    ]


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("nvidia-smi"),
        PermissionError("nvidia-smi"),
        subprocess.CalledProcessError(9, "nvidia-smi"),
        subprocess.TimeoutExpired("nvidia-smi", 10),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_is_unknown_where_nvidia_smi_fails(error: Exception) -> None:
    def run_command(_: Sequence[str]) -> str:
        raise error

    assert gpu_memory("0", run_command) is None


@pytest.mark.parametrize("gpu", [MIG, OLD_MIG])
def test_a_slice_is_not_taken_for_its_gpu(gpu: str) -> None:
    assert gpu_memory(gpu, lambda _: "81559, 80912\n") is None


def test_memory_from_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program.write_text(
        "#!/bin/sh\n"
        'query="--query-gpu=memory.total,memory.free --format=csv,noheader,nounits"\n'
        'case "$*" in\n'
        '"$query -i 2") echo "40960, 40000" ;;\n'
        '*) echo "No devices were found"; exit 6 ;;\n'
        "esac\n"
    )
    program.chmod(0o755)
    assert gpu_memory("2") == 40000 << 20
    assert gpu_memory("3") is None
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert gpu_memory("2") is None


def test_a_program_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run

    def hang(command: Sequence[str], **options: Any) -> object:
        assert command[0] == "nvidia-smi"
        assert options["timeout"] == 10
        return run(["sleep", "60"], **options | {"timeout": 0.05})

    monkeypatch.setattr(subprocess, "run", hang)
    assert gpu_memory("0") is None


def compiled(folder: Path, library: str | None, text: str = "") -> Path:
    """An Aer package whose simulator needs a library of that name, or none."""
    package = folder / "qiskit_aer"
    (package / "backends").mkdir(parents=True)
    source, links = folder / "source.c", []
    source.write_text("int used(void) { return 1; }\n")
    if library:
        target = folder / library
        options = ["-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", str(target)]
        subprocess.run(["gcc", *options, str(source)], check=True)
        links = ["-Wl,--no-as-needed", str(target)]
    source.write_text(f'int used(void);\nconst char *const text = "{text}";\n')
    target = package / "backends" / f"controller_wrappers{EXTENSION_SUFFIXES[0]}"
    options = ["-shared", "-fPIC", "-o", str(target)]
    subprocess.run(["gcc", *options, str(source), *links], check=True)
    return package


@pytest.mark.slow
@needs_gcc
@pytest.mark.parametrize(
    "library",
    [
        "libmpi.so.12",
        "libmpi.so.40",
        "libmpi_cxx.so.40",
        "libmpicxx.so.12",
        "libmpich.so.12",
        "libmpichcxx.so.12",
        "libmpi_gnu_123.so.12",
        "libmpi_cray.so.12",
        "libmpich_gnu_91.so.3",
        "libmpi_ibm.so.3",
        "libmpi_abi.so.0",
        "libmpi-3f2a91cc.so.40.30.4",
    ],
)
def test_an_aer_linked_with_mpi_is_found_and_refused(tmp_path: Path, library: str) -> None:
    package = compiled(tmp_path, library)
    assert aer_is_mpi_build(package)
    with pytest.raises(InputError, match=r"expected an Aer without MPI.*HPCQ_AER_MPI=1") as refused:
        check_aer_build({}, package)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError):
        check_aer_build({"HPCQ_AER_MPI": "0"}, package)
    check_aer_build({"HPCQ_AER_MPI": "1"}, package)


@needs_gcc
@pytest.mark.parametrize("library", [None, "libmpir.so.23", "libmpix.so", "libsmpi.so.1"])
def test_other_names_and_names_that_are_not_linked_pass(
    tmp_path: Path, library: str | None
) -> None:
    package = compiled(tmp_path, library, text="libmpi.so")
    assert b"libmpi.so\0" in next((package / "backends").iterdir()).read_bytes()
    assert not aer_is_mpi_build(package)
    check_aer_build({}, package)


@needs_gcc
def test_the_library_that_python_would_load_is_read(tmp_path: Path) -> None:
    package = compiled(tmp_path, "libmpi.so.12")
    backends = package / "backends"
    shutil.move(next(backends.iterdir()), backends / "controller_wrappers.cpython-27.so")
    assert not aer_is_mpi_build(package)
    shutil.move(next(backends.iterdir()), backends / f"controller_wrappers{EXTENSION_SUFFIXES[-1]}")
    assert aer_is_mpi_build(package)
    (backends / f"controller_wrappers{EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    assert not aer_is_mpi_build(package)


@needs_gcc
def test_a_damaged_library_is_no_mpi_build(tmp_path: Path) -> None:
    package = compiled(tmp_path, "libmpi.so.12")
    library = next((package / "backends").iterdir())
    content = library.read_bytes()
    for length in (0, 3, 20, 63, 64, 100, 500, len(content) // 4, len(content) // 2):
        library.write_bytes(content[:length])
        assert not aer_is_mpi_build(package)
    for damage in (b"\x7fELF\x01\x01", b"\x7fELF\x02\x02", b"\xcf\xfa\xed\xfe\x07\x00"):
        library.write_bytes(damage + content[len(damage) :])
        assert not aer_is_mpi_build(package)


def test_no_aer_is_no_mpi_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not aer_is_mpi_build(tmp_path)
    monkeypatch.setattr(gpu_module, "find_spec", lambda _: None)
    assert not aer_is_mpi_build()
    monkeypatch.setattr(gpu_module, "find_spec", lambda name: ModuleSpec(name, None))
    assert not aer_is_mpi_build()
    check_aer_build({})


@needs_gcc
def test_the_installed_aer_is_found_and_nothing_is_loaded(tmp_path: Path) -> None:
    package = compiled(tmp_path, "libmpi.so.12")
    (package / "__init__.py").write_text("raise RuntimeError('loaded')\n")
    program = (
        "import sys; from hpcq.engines.gpu import aer_is_mpi_build, assign_gpu; assign_gpu(0);"
        "heavy = {'numpy', 'mpi4py', 'qiskit', 'qiskit_aer'}; found = aer_is_mpi_build();"
        "print(found, sorted(heavy & set(sys.modules)))"
    )
    root = str(Path(gpu_module.__file__).parents[2])
    path = os.pathsep.join([str(tmp_path), root])
    for paths, answer in ((path, "True []\n"), (root, "False []\n")):
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout == answer
