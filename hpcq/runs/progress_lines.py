"""Lines of progress: one that is overwritten on a terminal, and one now and then in a log."""

from __future__ import annotations

import time
from typing import TextIO

from hpcq.core.files import printable_lines

LINE_SECONDS = 5.0
"""Pause between lines of progress in a log; longer: shorter logs."""

BAR_SECONDS = 0.2
"""Pause between updates of the line on a terminal."""


class ProgressLines:
    """Shows progress on a stream.

    Args:
        stream: Where to show it; None for nowhere.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._is_terminal = stream is not None and stream.isatty()
        self._has_open_line = False
        self.wait()

    @property
    def are_due(self) -> bool:
        """Whether enough time has passed since the last line."""
        pause = BAR_SECONDS if self._is_terminal else LINE_SECONDS
        return self._stream is not None and time.monotonic() - self._last_shown >= pause

    def wait(self) -> None:
        """Wait for a whole pause before the next line."""
        self._last_shown = time.monotonic()

    def show(self, line: str, bar: str = "") -> None:
        """Show a line; on a terminal, behind a bar, in place of the last one."""
        self.wait()
        if self._is_terminal:
            self._write(f"\r\x1b[K{bar}{line}")
            self._has_open_line = True
        else:
            self._write(f"hpcq: {printable_lines(line)}\n")

    def log(self, line: str) -> None:
        """Print a message on its own line."""
        self.end_line()
        self._write(f"hpcq: {printable_lines(line)}\n")

    def end_line(self) -> None:
        """End the line that would be overwritten, if there is one."""
        if self._has_open_line:
            self._write("\n")
        self._has_open_line = False

    def _write(self, text: str) -> None:
        """Write to the stream; after an error, such as a closed pipe, never again."""
        try:
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
        except (OSError, ValueError):
            self._stream = None
