"""Settings: values of a site file, a job file and the environment, for options without a flag.

Each source is a layer. Its values become arguments such as ``--max-qubits=20``, which the command's
parser reads, so that a value is checked in one place wherever it comes from. Layers are merged by
option: a higher one replaces everything that a lower one says about it. The options are those of
the parsers; a new option needs no change here.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.cli import setting_sources as sources
from hpcq.cli.setting_sources import OFF, Check, Layer
from hpcq.core.errors import InputError
from hpcq.core.files import printable_path

if TYPE_CHECKING:
    from hpcq.parallel.serial import Farm

_ALTERNATIVE_OPTIONS = (("observable", "observables"), ("parameter", "parameters"))
"""Options that give the same setting in different ways: a layer that gives one of them replaces all
of them in lower layers."""

_SEARCH_OPTIONS = ("objective", "search_seconds", "reuse_qubits", "pareto")
_FLAGS, _ENVIRONMENT, _JOB, _SITE = range(4)
"""Levels of the layers; the lowest number has precedence."""


def apply_settings(
    options: argparse.Namespace,
    arguments: Sequence[str],
    parser: argparse.ArgumentParser,
    check: Check,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Set the options that flags leave open, if the command takes a circuit or submits a job.

    ``options``, the parsed command line, is changed in place. A circuit ``*.toml`` is a job file,
    and is replaced by the circuit that it names; ``arguments`` becomes an equivalent command line
    without files and variables. ``check`` is called with the options of each layer; it may change
    them, and raises InputError if they contradict each other.

    Raises:
        InputError: If the site file, job file or a variable is wrong; the message says which.
    """
    has_circuit = hasattr(options, "circuit")  # a script has none
    if not has_circuit and not hasattr(options, "submitted"):
        return
    commands = _configurable_commands(parser)
    command = next(word for word in arguments if word in commands)
    command_parser = commands[command]
    known = {
        option: action
        for each in (*commands.values(), command_parser)  # the last one counts
        for option, action in sources.long_options(each).items()
    }
    flags = arguments[arguments.index(command) + 1 :]
    layers = {_FLAGS: sources.parse_layer(command_parser, flags, check)}
    layers[_ENVIRONMENT] = sources.environment_layer(environment, command_parser, known, check)
    if has_circuit:
        _check_job_file_alone([options.circuit, *getattr(options, "more_circuits", ())])
    if has_circuit and options.circuit.endswith(".toml"):
        job = Path(options.circuit)
        layers[_JOB] = sources.file_layer(job, command_parser, known, check, site=False)
        _take_circuits(options, layers[_JOB].pop("circuit"), job)
    site = sources.find_site_file(environment)
    if site is not None:
        layers[_SITE] = sources.file_layer(site, command_parser, known, check, site=True)
    merged = _merge(layers, _exclusive_options(command_parser))
    vars(options).update(merged)
    circuit = [options.circuit] if has_circuit else []
    options.arguments = [command, *circuit, *_flags_for(merged, command_parser)]


def share_settings(options: argparse.Namespace, farm: Farm) -> None:
    """Replace every rank's options by rank 0's, which alone has read the files and variables.

    Collective.

    Raises:
        InputError: On every rank, if rank 0 has deferred an error.
    """
    local_options = {
        name: value for name, value in vars(options).items() if name not in ("command", "refusal")
    }
    message = farm.broadcast(json.dumps([str(options.refusal or ""), local_options]).encode())
    refusal, shared_options = json.loads(message)
    if refusal:
        raise InputError(refusal)
    vars(options).update(shared_options)


def _check_job_file_alone(circuits: Sequence[str]) -> None:
    for circuit in circuits:
        if circuit.endswith(".toml") and len(circuits) > 1:
            name = printable_path(circuit)
            raise InputError(f"circuit: {name} is a job file, expected it alone, or circuits only")


def _take_circuits(options: argparse.Namespace, circuits: Sequence[str], job: Path) -> None:
    """Replace a job file by the circuits that it names."""
    name = printable_path(job)
    if len(circuits) > 1 and not hasattr(options, "more_circuits"):
        raise InputError(f"{name}: has {len(circuits)} circuits, expected one for this command")
    options.circuit = circuits[0]
    if len(circuits) > 1:
        options.more_circuits = list(circuits[1:])


def _flags_for(merged: Layer, parser: argparse.ArgumentParser) -> list[str]:
    """Return the arguments that give all merged options, without files and variables."""
    arguments = []
    for option, action in sources.long_options(parser).items():
        value = merged.get(action.dest)
        if action.nargs == 0:
            arguments += [f"--{option}"] if value else []
        elif value is not None:
            values = value if isinstance(value, list) else [value]
            arguments += [f"--{option}={each}" for each in values]
    return arguments


def _configurable_commands(
    parser: argparse.ArgumentParser,
) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands that take a circuit, and of `submit`, by command."""
    return {
        name: command_parser
        for action in parser._actions  # argparse has no public way to list them
        if isinstance(action, argparse._SubParsersAction)
        for name, command_parser in action.choices.items()
        if name == "submit" or any(each.dest == "circuit" for each in command_parser._actions)
    }


def _merge(layers: Mapping[int, Layer], exclusive: Mapping[str, frozenset[str]]) -> Layer:
    """Return the values of merged layers that are not defaults; level 0 has precedence.

    ``exclusive`` names, for an option, those whose values in lower layers it replaces.
    """
    merged: Layer = {}
    layer_of: dict[str, int] = {}
    settled_by: dict[str, int] = {}
    for level, layer in sorted(layers.items()):
        for name, value in layer.items():
            if name not in settled_by:
                merged[name] = value
                layer_of[name] = level
        for name, value in layer.items():
            for each in {name} if value is OFF else exclusive.get(name, {name}):
                settled_by.setdefault(each, level)
    if "max_qubits" not in merged:  # without a search, defaults for searches are not an error
        for name in _SEARCH_OPTIONS:
            level = layer_of.get(name, _FLAGS)
            if level in (_ENVIRONMENT, _SITE) or settled_by.get("max_qubits", level) < level:
                merged.pop(name, None)
    return {name: value for name, value in merged.items() if value is not OFF}


def _exclusive_options(parser: argparse.ArgumentParser) -> dict[str, frozenset[str]]:
    """Return, for each option of an exclusive group, the group."""
    groups = [
        frozenset(action.dest for action in group._group_actions)
        for group in parser._mutually_exclusive_groups
    ]
    return {
        name: group for group in (*groups, *map(frozenset, _ALTERNATIVE_OPTIONS)) for name in group
    }
