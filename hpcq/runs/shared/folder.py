"""A folder on a common file system with the members of a shared run, their claims and results.

Nothing is ever locked, and clocks of different hosts are not compared. A claim is a file that only
one job can create. While a job lives, it writes a growing heartbeat number into its member file.
When that number has not changed for long enough, or the job has announced that it leaves, its
claims are void, and another job creates the next generation of the same claim.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import create_sidecar, printable_path, read_sidecar, write_sidecar

DEFAULT_CLAIM_SECONDS = 120.0
"""Silence after which the other jobs take over the claims of a job.

Longer: tasks of a killed job wait longer. Shorter: a slow file system makes a live job look dead,
and its tasks are computed twice.
"""

_HEARTBEATS_PER_CLAIM = 8.0
"""Heartbeats in the time after which a silent job is assumed dead; more: more small writes."""

_MEMBER_CHECK_SECONDS = 1.0
"""Age in seconds at which a member's file is read again; less: more load on the file system."""

_MAX_JOIN_ATTEMPTS = 5
"""Attempts to join a folder that the last member to leave removes at the same moment."""

_FILE_NAMES = re.compile(r"member\.|claim\.|part\.|plan$|run$|\.hpcq-.*\.part$")
"""Beginnings of the names of all files that hpcq writes in such a folder."""


@dataclass(eq=False)
class _Heartbeat:
    """The last content of another job's member file, None if it could not be read.

    It was first seen at ``changed`` and last read at ``checked``, on the clock of
    ``time.monotonic``.
    """

    content: Any
    changed: float
    checked: float


class SharedFolder:
    """The folder of a shared run, as one job uses it.

    Args:
        path: The folder, which is made if it does not exist.
        claim_seconds: Seconds of silence after which a job is assumed dead.

    Attributes:
        path: The folder.
        claim_seconds: As above.
        name: This job's name, unique among all jobs.

    Raises:
        InputError: If something else is there.
        HpcqError: If it cannot be written.
    """

    def __init__(self, path: Path, claim_seconds: float = DEFAULT_CLAIM_SECONDS) -> None:
        self.path = path
        self.claim_seconds = claim_seconds
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._num_heartbeats = 0
        self._last_heartbeat = -float("inf")
        self._values: dict[str, Any] = {}
        self._heartbeats: dict[str, _Heartbeat] = {}
        self._unnamed_since: dict[str, float] = {}
        self.join()

    def join(self) -> None:
        """Make the folder if it does not exist, and become a member.

        Raises:
            InputError: If something else is there.
            HpcqError: If it cannot be written, or other jobs remove it again and again.
        """
        shown = printable_path(self.path)
        for attempts_left in reversed(range(_MAX_JOIN_ATTEMPTS)):
            try:
                self.path.mkdir(exist_ok=True)
                self._check_link()
                self.update_member(now=True)
                return
            except FileNotFoundError:  # the last member to leave has removed it again
                if not attempts_left:
                    raise HpcqError(f"shared: {shown!r} was removed during the run") from None
            except OSError as error:
                if isinstance(error, (FileExistsError, NotADirectoryError)):
                    raise InputError(f"shared: {shown!r} is not a folder, expected one") from None
                raise HpcqError(f"shared: cannot write {shown!r}: {error.strerror}") from None

    def _check_link(self) -> None:
        """Refuse a link unless this user or the owner of the folder above it made it.

        Otherwise anybody who may write there could lead hpcq's files elsewhere. Linux has the same
        rule for folders such as /tmp (``fs.protected_symlinks``).
        """
        if not self.path.is_symlink():
            return
        if self.path.lstat().st_uid not in (os.geteuid(), self.path.parent.stat().st_uid):
            raise InputError(
                f"shared: {printable_path(self.path)!r} is a link that another user put there, "
                "expected a folder"
            )

    # ------------------------------------------------------------------------- members

    def update_member(self, values: Mapping[str, Any] | None = None, *, now: bool = False) -> None:
        """Write this job's member file, which is its heartbeat, if it is time or has to be ``now``.

        The values, if any, are added to its JSON values, or replace them.

        Raises:
            OSError: If the folder is gone.
        """
        self._values |= values or {}
        pause = self.claim_seconds / _HEARTBEATS_PER_CLAIM
        if not now and time.monotonic() - self._last_heartbeat < pause:
            return
        self._last_heartbeat = time.monotonic()
        self._num_heartbeats += 1
        content = {
            **self._values,
            "beat": self._num_heartbeats,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self.write_values(f"member.{self.name}", content)

    def count_tasks(self, new: int, repeated: int, seconds: float) -> None:
        """Add tasks that this job has computed to its member file, with the next heartbeat.

        New tasks are those that no job had finished before; others are, say, copies of tasks of
        slow ranks.
        """
        self._values["tasks"] = self._values.get("tasks", 0) + new
        self._values["again"] = self._values.get("again", 0) + repeated
        self._values["busy_seconds"] = round(self._values.get("busy_seconds", 0.0) + seconds, 6)

    def leave(self) -> None:
        """Announce that this job ends: all its claims are void."""
        with contextlib.suppress(OSError):
            self.update_member({"left": True}, now=True)

    def members(self) -> dict[str, dict[str, Any]]:
        """Return the content of every job's member file, by job; empty if the folder is gone."""
        names: list[str] = []
        with contextlib.suppress(OSError):
            names += [name.removeprefix("member.") for name in self.file_names("member.")]
        contents = {name: self.read_values(f"member.{name}") for name in names}
        return {name: content for name, content in contents.items() if content is not None}

    def is_alive(self, member: str) -> bool:
        """Say whether a job has had a heartbeat lately and has not left."""
        if member == self.name:
            return True
        now = time.monotonic()
        heartbeat = self._heartbeats.get(member)
        if heartbeat is None or now - heartbeat.checked > _MEMBER_CHECK_SECONDS:
            content = self.read_values(f"member.{member}")
            changed = (
                now if heartbeat is None or content != heartbeat.content else heartbeat.changed
            )
            heartbeat = self._heartbeats[member] = _Heartbeat(content, changed, now)
        if heartbeat.content is None or heartbeat.content.get("left"):
            return False
        return now - heartbeat.changed < self.claim_seconds

    # -------------------------------------------------------------------------- claims

    def claims(self, prefix: str) -> dict[str, int]:
        """Return the latest generation of every claim whose name has a prefix."""
        generations: dict[str, int] = {}
        for file in self.file_names(f"claim.{prefix}"):
            name, _, generation = file.removeprefix("claim.").rpartition(".")
            if generation.isdecimal():
                generations[name] = max(generations.get(name, 0), int(generation))
        return generations

    def claim(self, name: str, generation: int = 0) -> bool:
        """Try to create a claim; return False if another job was first.

        Its generation is 0, or one more than that of the void claim to take over.
        """
        try:
            handle = create_sidecar(self.path / f"claim.{name}.{generation}")
        except FileExistsError:
            return False
        with os.fdopen(handle, "w") as file:
            file.write(self.name)
        return True

    def is_held(self, name: str, generation: int) -> bool:
        """Say whether the owner of a claim is alive."""
        owner = self.owner(name, generation)
        if owner is None:
            return False
        if owner:
            return self.is_alive(owner)
        file = f"claim.{name}.{generation}"
        now = time.monotonic()  # a job that has just created the claim may not have written yet
        return now - self._unnamed_since.setdefault(file, now) < self.claim_seconds

    def owner(self, name: str, generation: int) -> str | None:
        """Return the owner of a claim; empty if the file does not name one, None without a file."""
        try:
            return self._text(f"claim.{name}.{generation}")
        except FileNotFoundError:
            return None
        except OSError:  # a pipe, say, or a link
            return ""

    def claim_or_take_over(self, name: str) -> bool:
        """Try to create a claim, or the next generation of a void one."""
        generation = self.claims(name).get(name)
        if generation is None:
            return self.claim(name)
        return not self.is_held(name, generation) and self.claim(name, generation + 1)

    # --------------------------------------------------------------------------- files

    def file_names(self, prefix: str) -> list[str]:
        """Return the sorted names of all files with a prefix.

        Raises:
            OSError: If the folder is gone.
        """
        return sorted(file.name for file in self.path.iterdir() if file.name.startswith(prefix))

    def write_values(self, name: str, values: Mapping[str, Any]) -> None:
        """Write JSON values to a file for all jobs."""
        write_sidecar(self.path / name, json.dumps(values).encode())

    def read_values(self, name: str) -> dict[str, Any] | None:
        """Return the JSON values of a file; None if there are none."""
        try:
            content = json.loads(self._text(name))
        except (OSError, ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None

    def remove(self) -> None:
        """Remove the folder when all is done; to other jobs it disappears all at once.

        Files that are not hpcq's stay: the folder may be a link to anywhere.
        """
        aside = self.path.with_name(f".{self.path.name}.{self.name}")
        with contextlib.suppress(OSError):
            self.path.replace(aside)
            folder = aside.resolve()
            if aside.is_symlink():  # a user made it to have the parts elsewhere
                aside.unlink()
            for file in folder.iterdir():
                if _FILE_NAMES.match(file.name):
                    with contextlib.suppress(OSError):
                        file.unlink()
            folder.rmdir()

    def withdraw(self, *, all_done: bool) -> None:
        """Leave without a trace; the last member removes the folder.

        If all is done, the folder is not needed any more, even if there are parts in it.
        """
        with contextlib.suppress(OSError):
            (self.path / f"member.{self.name}").unlink()
            if not self.file_names("member.") and (all_done or not self.file_names("part.")):
                self.remove()

    def _text(self, name: str) -> str:
        return read_sidecar(self.path / name).decode(errors="replace")
