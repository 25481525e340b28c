"""Opening a file that somebody else wrote: never waiting for it, never taking more than agreed."""

from __future__ import annotations

import os
import stat

from hpcq.errors import InputError


def open_regular(path: str | os.PathLike[str], max_bytes: int, expected: str) -> int:
    """Open a regular file for reading and return its descriptor, which the caller closes.

    Args:
        path: The file.
        max_bytes: Larger files are refused.
        expected: What the file should have been, for the message.

    Raises:
        InputError: It does not exist, is unreadable, empty, too large, or no regular file.
    """
    name = printable_path(path)
    if not name:
        raise InputError(f"the path is empty, expected that of {expected}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name}: cannot be opened: {reason}") from None
    found = os.fstat(descriptor)
    problem = ""
    if stat.S_ISDIR(found.st_mode):
        problem = f"is a directory, expected {expected}"
    elif not stat.S_ISREG(found.st_mode):
        problem = f"is a pipe, socket or device, expected {expected} in a regular file"
    elif found.st_size == 0:
        problem = f"is empty, expected {expected}"
    elif found.st_size > max_bytes:
        problem = f"has {found.st_size} bytes, expected at most {max_bytes}"
    if problem:
        os.close(descriptor)
        raise InputError(f"{name}: {problem}")
    return descriptor


def printable_path(path: str | os.PathLike[str]) -> str:
    """Return a path fit for one line of a message."""
    text = os.fsdecode(path)
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= 200 else "..." + shown[-197:]
