"""From the arguments of the command line to options."""

from __future__ import annotations

import argparse
from collections.abc import Container, Mapping, Sequence

from hpcq.cli import settings
from hpcq.cli.flags import Command, build_parser
from hpcq.cli.old_spellings import OldSpellings
from hpcq.cli.submission_words import join_submission, split_script
from hpcq.core.errors import InputError
from hpcq.core.system import launched_rank


def parse(
    arguments: Sequence[str], commands: Mapping[str, Command], on_all_ranks: Container[Command] = ()
) -> argparse.Namespace:
    """Parse the command line, and apply the settings of files and variables.

    Args:
        arguments: The arguments after ``hpcq``.
        commands: The function of each command.
        on_all_ranks: The functions that several ranks call together. Only rank 0 then reads files
            and variables, and an error in them is deferred until
            :func:`hpcq.cli.settings.share_settings` tells all ranks.

    Returns:
        The options. ``command`` is the function to call, ``refusal`` the deferred error or None,
        ``notice`` a line for stderr about old spellings, or empty.

    Raises:
        InputError: If the arguments or a setting are wrong.
    """
    words, script_arguments = split_script(arguments)
    submitted, joined = join_submission(_join_values(words))
    parser = build_parser(commands, submitted)
    options = parser.parse_args(joined)
    if script_arguments:
        options.script_arguments = script_arguments
    options.refusal = None
    old_spellings = OldSpellings()
    old_spellings.replace(options)
    is_deferred = options.command in on_all_ranks
    if not is_deferred or launched_rank() == 0:
        try:
            settings.apply_settings(options, joined, parser, old_spellings.replace)
        except InputError as error:
            if not is_deferred:
                raise
            options.refusal = error
    options.notice = old_spellings.notice
    return options


def _join_values(arguments: Sequence[str]) -> list[str]:
    """Join ``--observable -Z0`` into one argument; argparse would take -Z0 for an option."""
    if arguments[:1] == ["exec"]:  # the arguments are those of a script
        return list(arguments)
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--observable":
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined
