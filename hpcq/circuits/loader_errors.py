"""What Qiskit's circuit loaders complain about, on one line."""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def one_line(text: object, limit: int = 200) -> str:
    """Return a text on one line, printable and at most `limit` characters long."""
    printable = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * limit])
    line = " ".join(printable.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def reason_of(error: BaseException) -> str:
    """Return the reason of a loader's error on one line, with its position if known."""
    for cause in (error.__cause__, error.__context__):
        token = getattr(cause.args[0], "offendingToken", None) if cause and cause.args else None
        if token is not None:
            position = f"line {token.line}, column {token.column}"
            return f"{position}: unexpected {one_line(token.text, 40)!r}"
    message = _ESCAPES.sub("", str(getattr(error, "message", error)))
    inner = re.search(r"Error: ([^\n]+)", message)  # the rest is a backtrace of the QPY reader
    text = one_line(inner[1] if inner else message, 160)
    text = re.sub(r"<input>:(\d+),(\d+):", r"line \1, column \2:", text)
    line = None if re.search(r"\bline \d|^\d+,\d+:", text) else _line_of(error)
    return (f"line {line}: " if line else "") + (text or type(error).__name__)


def _line_of(error: BaseException) -> int | None:
    """Return the line of the OpenQASM 3 program at which a loader failed; None if unknown."""
    line = None
    trace = error.__traceback__
    while trace is not None:
        span = getattr(trace.tb_frame.f_locals.get("node"), "span", None)
        line = getattr(span, "start_line", None) or line
        trace = trace.tb_next
    return line
