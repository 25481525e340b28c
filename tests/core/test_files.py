"""Files under names that can be guessed: links, pipes, sockets and folders where they should be."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Callable
from contextlib import chdir, suppress
from pathlib import Path

import numpy as np
import pytest

from hpcq.cli.main import main
from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import create_sidecar, open_sidecar, read_sidecar, write_atomic, write_sidecar
from hpcq.jobs import local_backend as local
from hpcq.jobs.submissions import Submission, locked, record_file, save_submission
from hpcq.parallel.tasks import FinishedTasks, TaskResults
from hpcq.runs.shared.folder import SharedFolder
from hpcq.runs.shared.result_files import read_part, write_part
from hpcq.runs.status import read_members, read_status, status_file, write_status

VICTIM = b"somebody's thesis"


def _link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def _dangling(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("nowhere"))


def _pipe(path: Path, _victim: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path, _victim: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, chdir(path.parent):  # for a short path
        server.bind(path.name)


def _device(path: Path, _victim: Path) -> None:
    path.symlink_to("/dev/zero")


def _folder(path: Path, _victim: Path) -> None:
    path.mkdir()


Plant = Callable[[Path, Path], None]
PLANTS = [_link, _dangling, _pipe, _socket, _device, _folder]
planted = pytest.mark.parametrize("plant", PLANTS)


def wait_for_the_end(job: str) -> None:
    end = time.monotonic() + 20
    while local.process_start_time(int(job.removeprefix("local-"))):  # a zombie is none
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "thesis"
    path.write_bytes(VICTIM)
    return path


@pytest.fixture(autouse=True)
def _untouched(victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield
    assert victim.read_bytes() == VICTIM
    assert not (tmp_path / "nowhere").exists()


@planted
def test_what_is_kept_is_read_from_regular_files_only(
    plant: Plant, tmp_path: Path, victim: Path
) -> None:
    path = tmp_path / "kept"
    plant(path, victim)
    with pytest.raises(OSError, match=r"not a regular file"):
        open_sidecar(path)


@planted
def test_what_is_kept_takes_the_place_of_others(plant: Plant, tmp_path: Path, victim: Path) -> None:
    path = tmp_path / "kept"
    plant(path, victim)
    with pytest.raises(FileExistsError):
        create_sidecar(path)
    before = sorted(entry.name for entry in tmp_path.iterdir())
    for write in (write_sidecar, lambda path, content: write_atomic(path, content, "kept")):
        if plant is _folder:
            with pytest.raises((OSError, HpcqError)):
                write(path, b"new")
        else:
            write(path, b"new")
            assert read_sidecar(path) == b"new"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(bytes(11))
    assert read_sidecar(tmp_path / "kept", 11) == bytes(11)
    with pytest.raises(OSError, match="too large"):
        read_sidecar(tmp_path / "kept", 10)


def test_new_files_have_the_usual_mode(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_sidecar(tmp_path / "one", b"")
        write_atomic(tmp_path / "two", b"", "two")
        save_submission(Submission("7", str(tmp_path / "out.h5"), "%j.log", ()))
    finally:
        os.umask(mask)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("one", "two")]
    assert modes == [0o640, 0o640]
    assert stat.S_IMODE(record_file(tmp_path / "out.h5").stat().st_mode) == 0o640


@planted
def test_the_status_of_a_run(plant: Plant, tmp_path: Path, victim: Path) -> None:
    output = tmp_path / "out.h5"
    plant(status_file(output), victim)
    assert read_status(output) is None
    assert main(["status", str(output)]) == 2
    content = {"phase": "x", "done": 1, "total": 2, "rate": 1.0, "seconds_left": 1.0, "ranks": 1}
    write_status(output, {**content, "idle": 0.0, "failed": 0})
    status = read_status(output)
    assert (status is None) == (plant is _folder)


def test_nothing_is_written_through_the_old_name_of_a_status(tmp_path: Path, victim: Path) -> None:
    output = tmp_path / "out.h5"
    (tmp_path / f".out.h5.status.{os.getpid()}").symlink_to(victim)
    write_status(output, {})
    assert status_file(output).is_file()


@planted
def test_members_of_a_shared_folder(plant: Plant, tmp_path: Path, victim: Path) -> None:
    folder = SharedFolder(tmp_path / "out.h5.parts", claim_seconds=60)
    for name in ("member.x", "claim.a.0", "plan", f"part.x.{folder.name}.1"):
        plant(folder.path / name, victim)
    (folder.path / f".member.{folder.name}.{folder.name}").symlink_to(victim)
    folder.update_member(now=True)
    assert list(folder.members()) == [folder.name]
    assert not list(read_members(folder.path))
    assert not folder.claim_or_take_over("a")
    assert folder.read_values("plan") is None
    assert read_part(folder.path / f"part.x.{folder.name}.1") is None
    with suppress(OSError):
        folder.write_values("plan", {"memory_bytes": 1})
        assert folder.read_values("plan") == {"memory_bytes": 1}


@planted
def test_the_end_of_a_run_in_the_background(plant: Plant, tmp_path: Path, victim: Path) -> None:
    output = tmp_path / "out.h5"
    plant(local.code_file(output), victim)
    assert local.exit_code(output) is None
    if plant is _folder:
        with pytest.raises(HpcqError, match="output: cannot write"):
            local.start(["true"], tmp_path / "out-%j.log", output)
        return
    job, _ = local.start(["sh", "-c", "exit 3"], tmp_path / "out-%j.log", output)
    wait_for_the_end(job)
    assert local.exit_code(output) == 3
    assert (tmp_path / f"out-{job}.log").is_file()


def test_a_link_that_comes_later_is_not_written_to(tmp_path: Path, victim: Path) -> None:
    output = tmp_path / "out.h5"
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    job, _ = local.start(["sh", "-c", f"read x < {gate}"], tmp_path / "out-%j.log", output)
    local.code_file(output).unlink()
    local.code_file(output).symlink_to(victim)
    gate.write_text("go\n")
    wait_for_the_end(job)
    assert local.exit_code(output) is None


@planted
def test_records_and_their_lock(
    plant: Plant, tmp_path: Path, victim: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.h5"
    plant(record_file(output), victim)
    for command in ("status", "logs", "cancel", "result"):
        assert main([command, str(output)]) == 2
        assert "not a regular file" in capsys.readouterr().err
    plant(record_file(output).with_suffix(".lock"), victim)
    with locked(output):
        pass
    path = record_file(output)
    path.rmdir() if plant is _folder else path.unlink()
    save_submission(Submission("7", str(output), "out-%j.log", ()))
    plant(tmp_path / "out-7.log", victim)
    assert main(["logs", str(output)]) == 2
    assert "out-7.log: is a" in capsys.readouterr().err


def test_a_lock_that_nobody_gives_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr("hpcq.jobs.submissions._LOCK_SECONDS", 0.2)
    output = tmp_path / "out.h5"
    with record_file(output).with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(HpcqError, match="another process has locked it"), locked(output):
            pass


def test_a_folder_elsewhere_keeps_what_is_not_of_the_run(tmp_path: Path) -> None:
    """The link may lead to somebody's home."""
    home = tmp_path / "home"
    (home / "member.files").mkdir(parents=True)
    (home / "letters").write_text("dear")
    (tmp_path / "out.h5.parts").symlink_to(home)
    folder = SharedFolder(tmp_path / "out.h5.parts")
    folder.write_values("plan", {})
    folder.claim("a")
    folder.remove()
    assert sorted(entry.name for entry in home.iterdir()) == ["letters", "member.files"]
    assert not (tmp_path / "out.h5.parts").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give links to others")
def test_a_link_of_another_user_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    link = tmp_path / "out.h5.parts"
    link.symlink_to("home")
    os.chown(link, 12345, 12345, follow_symlinks=False)
    with pytest.raises(InputError, match="a link that another user put there"):
        SharedFolder(link)
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.parametrize(
    ("tasks", "sizes", "dtype"),
    [
        ([7], [1], "f8"),
        ([-1], [1], "f8"),
        ([0, 0], [1, 1], "f8"),
        ([0, 1], [3, -1], "f8"),
        ([0], [1], "c16"),
        ([0], [0], "f8"),
    ],
)
def test_parts_with_what_there_is_not_are_not_taken(
    tasks: list[int], sizes: list[int], dtype: str, tmp_path: Path
) -> None:
    data = np.ones(2 if len(tasks) == 2 else 1, dtype)
    part = TaskResults(0, np.array(tasks), np.array(sizes), np.ones(len(tasks)), data)
    assert not FinishedTasks(4, float).accepts(part)
    if sum(sizes) == len(data):
        write_part(tmp_path / "part", part)
        read = read_part(tmp_path / "part")
        assert read is not None
        assert not FinishedTasks(4, float).accepts(read)


def test_parts_as_they_should_be_are_taken() -> None:
    part = TaskResults(0, np.array([2, 0]), np.array([1, 2]), np.zeros(2), np.ones(3))
    assert FinishedTasks(3, float).accepts(part)
    nothing = np.empty(0, dtype=np.int64)
    assert FinishedTasks(3, float).accepts(
        TaskResults(0, nothing, nothing, np.zeros(0), np.empty(0))
    )


@pytest.mark.parametrize("at", ["length", "dtype", "data"])
def test_a_sealed_part_of_nonsense_is_not_read(at: str, tmp_path: Path) -> None:
    import hashlib

    from hpcq.runs.shared.result_files import _LENGTH, _MARK, _header

    head = _header(TaskResults(0, np.array([0]), np.array([1]), np.ones(1), np.ones(1)))
    head = head.replace(b"<f8", b"|O8") if at == "dtype" else head
    length = -(1 << 40) if at == "length" else len(head)
    body = _LENGTH.pack(length) + head + bytes(800 if at == "data" else 8)
    (tmp_path / "part").write_bytes(_MARK + hashlib.sha256(body).digest() + body)
    assert read_part(tmp_path / "part") is None


def test_words_of_members_are_looked_at(tmp_path: Path) -> None:
    folder = SharedFolder(tmp_path / "out.h5.parts")
    for number, content in enumerate(([], {"standing": 3}, {"standing": {"pid": "x"}}, "a" * 10)):
        (folder.path / f"member.{number}").write_text(json.dumps(content))
    assert not list(read_members(folder.path))
