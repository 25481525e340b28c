"""A folder on a file system that jobs share: who is there, who has claimed what, what is done.

Nothing is ever locked, and no clocks are compared. A claim is a file that only one job can create;
whoever has claimed something says so as long as it lives, by a number that grows. Where that number
stands still for long enough, or a job has said that it leaves, its claims are void, and another job
creates the next generation of the same claim.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import create_sidecar, printable_path, read_sidecar, write_sidecar
from hpcq.parallel.worker import here

CLAIM_SECONDS = 120.0
"""How long a job may be silent before others take over what it has claimed."""

_BEATS = 8.0
"""How many times a job says that it lives, before others may think that it does not."""

_LOOK_SECONDS = 1.0
_TRIES = 5
_OURS = re.compile(r"member\.|claim\.|part\.|plan$|run$|\.hpcq-.*\.part$")
"""Names of what is in such a folder."""


class FolderGoneError(HpcqError):
    """The folder is gone: another job has written the result, or somebody removed it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"shared: {printable_path(path)!r} was removed meanwhile")


@dataclass(eq=False)
class _Heartbeat:
    """What another job last said, and when that was new.

    Attributes:
        told: Its words.
        since: On the clock of ``time.monotonic``.
        looked: When it was read.
    """

    told: Any
    since: float
    looked: float


class SharedFolder:
    """One job's view of a folder.

    Args:
        path: The folder; it is made.
        claim_seconds: How long a job may be silent.

    Attributes:
        name: This job's name among the others.
        claim_seconds: How long a job may be silent.

    Raises:
        InputError: If something else is there.
        HpcqError: If it cannot be written.
    """

    def __init__(self, path: Path, claim_seconds: float = CLAIM_SECONDS) -> None:
        self.path = path
        self.claim_seconds = claim_seconds
        self.name = f"{here()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._beats = 0
        self._told = -float("inf")
        self._words: dict[str, Any] = {}
        self._signs: dict[str, _Heartbeat] = {}
        self._nameless: dict[str, float] = {}
        self.join()

    def join(self) -> None:
        """Make the folder, and say that this job is there."""
        for left in reversed(range(_TRIES)):
            try:
                self.path.mkdir(exist_ok=True)
                self._check_link()
                self.tell(now=True)
                return
            except FileNotFoundError:  # the last one to leave has removed it again
                if not left:
                    raise FolderGoneError(self.path) from None
            except OSError as error:
                shown = printable_path(self.path)
                if isinstance(error, (FileExistsError, NotADirectoryError)):
                    raise InputError(f"shared: {shown!r} is no folder, expected one") from None
                raise HpcqError(f"shared: cannot write {shown!r}: {error.strerror}") from None

    def _check_link(self) -> None:
        """Refuse a link in a folder of many that none of them put there who may.

        Linux has the same rule for folders such as /tmp (``fs.protected_symlinks``).
        """
        if not self.path.is_symlink():
            return
        if self.path.lstat().st_uid not in (os.geteuid(), self.path.parent.stat().st_uid):
            raise InputError(
                f"shared: {printable_path(self.path)!r} is a link that another user put there, "
                "expected a folder"
            )

    # --------------------------------------------------------------------- who is there

    def tell(self, words: Mapping[str, Any] | None = None, *, now: bool = False) -> None:
        """Say that this job lives, and how it stands.

        Args:
            words: What is new of it, as plain values.
            now: Whether to say so at once, and not only now and then.

        Raises:
            OSError: If the folder is gone.
        """
        self._words |= words or {}
        if not now and time.monotonic() - self._told < self.claim_seconds / _BEATS:
            return
        self._told = time.monotonic()
        self._beats += 1
        said = {**self._words, "beat": self._beats, "host": here(), "pid": os.getpid()}
        self._write(f"member.{self.name}", json.dumps(said))

    def count(self, tasks: int, again: int, seconds: float) -> None:
        """Note what this job has computed, for its next sign of life.

        Args:
            tasks: How many tasks it was the first to finish.
            again: How many others it computed, such as copies of tasks of slow ranks.
            seconds: How long both took.
        """
        self._words["tasks"] = self._words.get("tasks", 0) + tasks
        self._words["again"] = self._words.get("again", 0) + again
        self._words["busy_seconds"] = round(self._words.get("busy_seconds", 0.0) + seconds, 6)

    def leave(self) -> None:
        """Give up all claims."""
        with contextlib.suppress(OSError):
            self.tell({"left": True}, now=True)

    def members(self) -> dict[str, dict[str, Any]]:
        """Return what every job last said, by its name; nobody, if the folder is gone."""
        names: list[str] = []
        with contextlib.suppress(OSError):
            names += [name.removeprefix("member.") for name in self.names("member.")]
        found = {name: self._read(f"member.{name}") for name in names}
        return {name: said for name, said in found.items() if said is not None}

    def lives(self, member: str) -> bool:
        """Say whether a job has been heard lately, and has not left."""
        if member == self.name:
            return True
        now = time.monotonic()
        sign = self._signs.get(member)
        if sign is None or now - sign.looked > _LOOK_SECONDS:
            told = self._read(f"member.{member}")
            since = now if sign is None or told != sign.told else sign.since
            sign = self._signs[member] = _Heartbeat(told, since, now)
        if sign.told is None or sign.told.get("left"):
            return False
        return now - sign.since < self.claim_seconds

    # ------------------------------------------------------------------ who claimed what

    def claims(self, prefix: str) -> dict[str, int]:
        """Return the latest generation of every claim whose name begins in some way."""
        found: dict[str, int] = {}
        for file in self.names(f"claim.{prefix}"):
            name, _, generation = file.removeprefix("claim.").rpartition(".")
            if generation.isdecimal():
                found[name] = max(found.get(name, 0), int(generation))
        return found

    def claim(self, name: str, generation: int = 0) -> bool:
        """Try to claim something.

        Args:
            name: What.
            generation: One more than that of the claim which is void.

        Returns:
            Whether it is this job's now.
        """
        try:
            handle = create_sidecar(self.path / f"claim.{name}.{generation}")
        except FileExistsError:
            return False
        with os.fdopen(handle, "w") as file:
            file.write(self.name)
        return True

    def is_held(self, name: str, generation: int) -> bool:
        """Say whether a claim is that of a job that lives."""
        owner = self.owner(name, generation)
        if owner is None:
            return False
        if owner:
            return self.lives(owner)
        file = f"claim.{name}.{generation}"
        now = time.monotonic()  # whoever wrote no name may be about to
        return now - self._nameless.setdefault(file, now) < self.claim_seconds

    def owner(self, name: str, generation: int) -> str | None:
        """Return whose a claim is; empty if it does not say, None if there is none."""
        try:
            return self._text(f"claim.{name}.{generation}")
        except FileNotFoundError:
            return None
        except OSError:  # a pipe, say, or a link
            return ""

    def take(self, name: str) -> bool:
        """Claim something, also if it was that of a job that is gone."""
        generation = self.claims(name).get(name)
        if generation is None:
            return self.claim(name)
        return not self.is_held(name, generation) and self.claim(name, generation + 1)

    # ------------------------------------------------------------------------ what is done

    def names(self, prefix: str) -> list[str]:
        """Return the names of all files that begin in some way.

        Raises:
            OSError: If the folder is gone.
        """
        return sorted(own.name for own in self.path.iterdir() if own.name.startswith(prefix))

    def remember(self, name: str, value: Mapping[str, Any]) -> None:
        """Write plain values for all to read."""
        self._write(name, json.dumps(value))

    def recall(self, name: str) -> dict[str, Any] | None:
        """Read them; None if there are none."""
        return self._read(name)

    def remove(self) -> None:
        """Remove the folder, from one moment to the next: all is done.

        What is in it and is not of such a folder stays: it may be a link, and to anywhere.
        """
        aside = self.path.with_name(f".{self.path.name}.{self.name}")
        with contextlib.suppress(OSError):
            self.path.replace(aside)
            place = aside.resolve()
            if aside.is_symlink():  # somebody wants the parts elsewhere
                aside.unlink()
            for file in place.iterdir():
                if _OURS.match(file.name):
                    with contextlib.suppress(OSError):
                        file.unlink()
            place.rmdir()

    def close(self) -> None:
        """Leave when all is done; the last one removes the folder."""
        with contextlib.suppress(OSError):
            (self.path / f"member.{self.name}").unlink()
            if not self.names("member."):
                self.remove()

    def withdraw(self) -> None:
        """Leave as if this job had never been there; if nobody else is, or was, nothing is left."""
        with contextlib.suppress(OSError):
            (self.path / f"member.{self.name}").unlink()
            if not self.names("member.") and not self.names("part."):
                self.remove()

    def _write(self, name: str, text: str) -> None:
        write_sidecar(self.path / name, text.encode())

    def _text(self, name: str) -> str:
        return read_sidecar(self.path / name).decode(errors="replace")

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads(self._text(name))
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None
