"""The words of the command line, made into options."""

from __future__ import annotations

import argparse
from collections.abc import Container, Mapping, Sequence

from hpcq.cli import settings
from hpcq.cli.flags import Command, Parser, add_job, add_run, all_commands
from hpcq.cli.old_spellings import OldSpellings
from hpcq.cli.setting_sources import PREFIX
from hpcq.core.errors import InputError
from hpcq.core.system import launched_rank


def parse(
    arguments: Sequence[str], commands: Mapping[str, Command], together: Container[Command] = ()
) -> argparse.Namespace:
    """Read the command line, and for a job the settings that it leaves to files and variables.

    Args:
        arguments: The words after ``hpcq``.
        commands: What to call for each command.
        together: Those of them that several ranks carry out. Files and variables are then for
            rank 0 alone, and what is wrong with them has to wait until all ranks can hear of it,
            from :func:`hpcq.cli.settings.agree`.

    Returns:
        The options; ``command`` is what to call, ``refusal`` the error that has to wait, ``notice``
        a line for stderr about old spellings, or empty.

    Raises:
        InputError: If they are no command line of hpcq's, or a setting is wrong.
    """
    parser, words = all_commands(commands), _joined(arguments)
    options = parser.parse_args(words)
    options.refusal = None
    old = OldSpellings()
    old.replace(options)
    waits = options.command in together
    if not waits or launched_rank() == 0:
        try:
            settings.fill(options, words, parser, old.replace)
        except InputError as error:
            if not waits:
                raise
            options.refusal = error
    options.notice = old.notice
    return options


def run_words(options: argparse.Namespace) -> list[str]:
    """Return the options of ``run`` that ``submit`` was given, as words of a command line.

    Args:
        options: Those of ``submit``.

    Returns:
        Options only, each one word; not the circuit, and not the output.
    """
    known = _run_options() - {"--output", "--json"}
    return [word for word in options.arguments[2:] if word.partition("=")[0] in known]


def run_variables() -> frozenset[str]:
    """Return the names of all variables that are options of ``run``."""
    names = (option.removeprefix("--") for option in _run_options())
    return frozenset(PREFIX + name.upper().replace("-", "_") for name in names)


def _run_options() -> set[str]:
    run = Parser(add_help=False, allow_abbrev=False)
    add_job(run)
    add_run(run)
    return {name for action in run._actions for name in action.option_strings if name[:2] == "--"}


def _joined(arguments: Sequence[str]) -> list[str]:
    """Join ``--observable -Z0`` to one argument; argparse would take -Z0 for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--observable":
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined
