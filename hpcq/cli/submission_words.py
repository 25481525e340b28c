"""``hpcq submit [SLURM options] -- COMMAND ...``: which command a job runs, and with what."""

from __future__ import annotations

from collections.abc import Sequence

from hpcq.cli.flags import CommandParser
from hpcq.cli.submit_flags import SUBMITTED, add_submit_options
from hpcq.core.errors import InputError


def split_script(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a command line up to the script that it submits, and the script's arguments."""
    words = list(arguments)
    if words[:1] == ["submit"] and "--" in words:
        end = words.index("--") + 1
        if words[end : end + 1] == ["exec"]:
            return words[: end + 2], words[end + 2 :]
    return words, []


def join_submission(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command that a command line submits, and the line without ``-- COMMAND``.

    ``submit A -- COMMAND B`` becomes ``submit A B``, after each part was checked by a parser of its
    own. Other lines stay as they are, also those in which ``--`` protects a circuit's name.

    Raises:
        InputError: If a part is wrong, or the command is none that can be submitted.
    """
    words = list(arguments)
    default = next(iter(SUBMITTED))
    if words[:1] != ["submit"] or "--" not in words:
        return default, words
    end = words.index("--")
    options, (name, *rest) = words[1:end], words[end + 1 :] or [""]
    if name not in SUBMITTED:
        if name.isalpha() and rest:
            known = ", ".join(SUBMITTED)
            raise InputError(f"submit: {name[:40]!r} after --, expected one of {known}")
        return default, words
    parts = ("submit", add_submit_options, options), (name, SUBMITTED[name], rest)
    for command, add_options, part in parts:
        parser = CommandParser(prog=f"hpcq {command}", allow_abbrev=False)
        add_options(parser)
        parser.parse_args(part)
    return name, ["submit", *options, *rest]
