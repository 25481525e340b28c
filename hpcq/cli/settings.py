"""Settings: what a site file, a job file and the environment say, where flags don't.

Each of them becomes words of the command line, ``--max-qubits=20`` say, which the command's own
parser reads, so that a value is checked in one place wherever it comes from. The layers are laid
over each other by option: a higher one replaces all that a lower one says of it. What options
there are is asked of the parsers; none of those named here could be left out, or be required.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.cli.setting_sources import (
    OFF,
    Check,
    Layer,
    long_options,
    of_environment,
    of_file,
    read,
    site_file,
)
from hpcq.core.errors import InputError

if TYPE_CHECKING:
    from hpcq.parallel.serial import Farm

_TOGETHER = ("observable", "observables")
_OF_A_SEARCH = ("objective", "search_seconds", "reuse_qubits", "pareto")
_FLAGS, _ENVIRONMENT, _JOB, _SITE = range(4)


def fill(
    options: argparse.Namespace,
    words: Sequence[str],
    parser: argparse.ArgumentParser,
    check: Check,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Set the options that flags leave open, if the command is one that takes a circuit.

    Args:
        options: What the parser made of the words; changed in place. A circuit ``*.toml`` is a
            job file, and gives way to the circuit that is named there; ``arguments`` becomes a
            command line that says the same with flags alone.
        words: The command line.
        parser: The parser, of all commands.
        check: Called with the options of each layer alone; may change them, and raises InputError
            if they clash.
        environment: The variables.

    Raises:
        InputError: The site file, job file or a variable is wrong; the message says which.
    """
    commands = _commands(parser)
    if not hasattr(options, "circuit"):
        return
    command = next(word for word in words if word in commands)
    own = commands[command]
    known = {
        option: action
        for each in (*commands.values(), own)  # the last one counts
        for option, action in long_options(each).items()
    }
    layers = {_FLAGS: read(own, words[words.index(command) + 1 :], check)}
    layers[_ENVIRONMENT] = of_environment(environment, own, known, check)
    if options.circuit.endswith(".toml"):
        layers[_JOB] = of_file(Path(options.circuit), own, known, check, site=False)
        options.circuit = layers[_JOB].pop("circuit")
    site = site_file(environment)
    if site is not None:
        layers[_SITE] = of_file(site, own, known, check, site=True)
    found = _merged(layers, _rivals(own))
    vars(options).update(found)
    options.arguments = [command, options.circuit, *_said(found, own)]


def agree(options: argparse.Namespace, farm: Farm) -> None:
    """Have every rank take rank 0's options: its files and variables may not be there elsewhere.

    Raises:
        InputError: On every rank, if rank 0 found a setting wrong.
    """
    mine = {name: own for name, own in vars(options).items() if name not in ("command", "refusal")}
    told = farm.broadcast(json.dumps([str(options.refusal or ""), mine]).encode())
    refusal, heard = json.loads(told)
    if refusal:
        raise InputError(refusal)
    vars(options).update(heard)


def _said(found: Layer, parser: argparse.ArgumentParser) -> list[str]:
    """Return words that say all that was found, with no help of files and variables."""
    words = []
    for option, action in long_options(parser).items():
        value = found.get(action.dest)
        if action.nargs == 0:
            words += [f"--{option}"] if value else []
        elif value is not None:
            words += [
                f"--{option}={own}" for own in (value if isinstance(value, list) else [value])
            ]
    return words


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands that take a circuit."""
    return {
        name: own
        for action in parser._actions  # argparse tells nobody else what there is
        if isinstance(action, argparse._SubParsersAction)
        for name, own in action.choices.items()
        if any(each.dest == "circuit" for each in own._actions)
    }


def _merged(layers: Mapping[int, Layer], rivals: Mapping[str, frozenset[str]]) -> Layer:
    """Lay layers over each other.

    Args:
        layers: Each by its place, 0 the highest.
        rivals: For an option, those that a higher layer replaces by giving this one.

    Returns:
        The values that are not the defaults.
    """
    found: Layer = {}
    origin: dict[str, int] = {}
    settled: dict[str, int] = {}
    for place, layer in sorted(layers.items()):
        for name, value in layer.items():
            if name not in settled:
                found[name] = value
                origin[name] = place
        for name, value in layer.items():
            for each in {name} if value is OFF else rivals.get(name, {name}):
                settled.setdefault(each, place)
    if "max_qubits" not in found:  # no search: only who asked for one has to be told
        for name in _OF_A_SEARCH:
            place = origin.get(name, _FLAGS)
            if place in (_ENVIRONMENT, _SITE) or settled.get("max_qubits", place) < place:
                found.pop(name, None)
    return {name: value for name, value in found.items() if value is not OFF}


def _rivals(parser: argparse.ArgumentParser) -> dict[str, frozenset[str]]:
    groups = [
        frozenset(action.dest for action in group._group_actions)
        for group in parser._mutually_exclusive_groups
    ]
    return {name: group for group in (*groups, frozenset(_TOGETHER)) for name in group}
