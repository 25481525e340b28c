"""Sources of settings: environment variables, a job file and a site file, each one layer."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcq.cli.sample_flags import JoinValues
from hpcq.core.errors import InputError
from hpcq.core.files import open_regular, printable_path
from hpcq.core.system import launched_rank, write_stderr

PREFIX = "HPCQ_"
ENVIRONMENT = "environment"
"""Name of all environment variables together, in messages."""

SITE_VARIABLE = "HPCQ_SITE"
"""Environment variable: path of the site file, or ``none`` for no site file."""

_NOT_OPTIONS = (
    SITE_VARIABLE, "HPCQ_AER_MPI", "HPCQ_CALIBRATION", "HPCQ_FIRST_RANKS", "HPCQ_GPUS_SEEN",
    "HPCQ_IMAGE", "HPCQ_OUTPUT", "HPCQ_RANK_0", "HPCQ_REQUEUES", "HPCQ_SECONDS", "HPCQ_SRUN_MPI",
    "HPCQ_START_SECONDS", "HPCQ_WORKERS",
)  # fmt: skip
"""Variables that are not options, read by hpcq itself or by its job scripts."""

_SYSTEM_SITE_FILE = Path("/etc/hpcq/site.toml")
_TABLES = ("run", "slurm")
_MAX_FILE_BYTES = 256 << 10
"""Bytes of a settings file that are read; bounds the time that parsing a wrong file takes."""

_PATH_OPTIONS = frozenset(
    {"circuit", "container", "cuts", "draw", "observables", "output", "parameters", "save"}
)
OFF = object()
"""Value of a flag that a layer resets to its default."""

Check = Callable[[argparse.Namespace, str], None]
"""Called with the options that one source gives, and the source's name; empty for flags."""

Layer = dict[str, Any]


def environment_layer(
    environment: Mapping[str, str],
    parser: argparse.ArgumentParser,
    known: Mapping[str, argparse.Action],
    check: Check,
) -> Layer:
    """Return the layer of environment variables for the parser of a command.

    A variable that is none of the known options of all commands gets a warning on stderr.

    Raises:
        InputError: If a variable's value is wrong.
    """
    names = {PREFIX + option.upper().replace("-", "_"): option for option in known}
    options_of_command = long_options(parser)
    layer: Layer = {}
    arguments: list[str] = []
    for variable, value in sorted(environment.items()):
        if not variable.startswith(PREFIX) or not value:
            continue
        option = names.get(variable)
        if option is None:
            if variable not in _NOT_OPTIONS and launched_rank(environment) == 0:
                near = _nearest(variable, (*names, *_NOT_OPTIONS))
                shown = printable_path(variable)
                write_stderr(f"hpcq: warning: {shown} is not a setting, the nearest is {near}")
        elif option in options_of_command:
            action = options_of_command[option]
            given = _parse_boolean(value, variable) if action.nargs == 0 else value
            new_arguments = _as_arguments(option, given, action, variable)
            values = parse_layer(parser, ["-", *new_arguments], check, variable)
            layer.update(values or {action.dest: OFF})
            arguments += new_arguments
    parse_layer(parser, ["-", *arguments], check, ENVIRONMENT)
    return layer


def find_site_file(environment: Mapping[str, str]) -> Path | None:
    """Return the path of the site file; None if there is none."""
    named = environment.get(SITE_VARIABLE, "")
    if named:
        return None if named == "none" else Path(named)
    paths = [_SYSTEM_SITE_FILE]
    config = environment.get("XDG_CONFIG_HOME", "")
    with contextlib.suppress(RuntimeError):  # no home folder
        folder = Path(config) if config.startswith("/") else Path("~/.config").expanduser()
        paths.insert(0, folder / "hpcq" / "site.toml")
    for place in paths:
        with contextlib.suppress(OSError):
            if place.exists():
                return place
    return None


def file_layer(
    path: Path,
    parser: argparse.ArgumentParser,
    known: Mapping[str, argparse.Action],
    check: Check,
    *,
    site: bool,
) -> Layer:
    """Return the layer of a job file, or of a site file, which names no circuit.

    Its keys are the known options of all commands; the layer has those of the command's parser, and
    the circuits as a list. In
    a site file, and in a table [slurm], a key means the option ``--slurm-KEY`` if there is one:
    ``partition`` is SLURM's.

    Raises:
        InputError: If the file is wrong.
    """
    name = printable_path(path)
    options_of_command = long_options(parser)
    found: Layer = {}
    layer: Layer = {}
    arguments: list[str] = []
    for key, value, table in _entries(_read_toml(path, site), name):
        is_for_slurm = site or table == "slurm"
        options = set(known) - {"partition"} if is_for_slurm else {*known, "circuit"}
        option = key.replace("_", "-")
        if is_for_slurm and f"slurm-{option}" in options:
            option = f"slurm-{option}"
        if option not in options:
            near = _nearest(option.lower(), options)
            raise InputError(f"{name}: unknown key {_shown(key)}, expected one such as {near!r}")
        if option in found:
            raise InputError(f"{name}: {option!r} is given twice, expected once")
        found[option] = value
        if option == "circuit":
            layer[option] = _circuits(value, name, path.parent)
            continue
        action = known[option]
        new_arguments = _as_arguments(option, value, action, name, path.parent)
        if option in options_of_command:
            arguments += new_arguments
            if not new_arguments:
                layer[action.dest] = OFF if action.nargs == 0 else []
    if not site and "circuit" not in layer:
        raise InputError(f'{name}: has no circuit, expected circuit = "FILE"')
    return layer | parse_layer(parser, ["-", *arguments], check, name)


def parse_layer(
    parser: argparse.ArgumentParser, arguments: Sequence[str], check: Check, source: str = ""
) -> Layer:
    """Return the options that arguments give, without defaults.

    Raises:
        InputError: If the arguments are wrong or contradict each other; the message begins with the
            source.
    """
    blank = argparse.Namespace(**{action.dest: None for action in parser._actions})
    try:
        parser.parse_known_args(arguments, blank)
        check(blank, source)
    except InputError as error:
        raise InputError(f"{source}: {error}" if source else str(error)) from None
    return {
        action.dest: getattr(blank, action.dest)
        for action in parser._actions
        if action.option_strings and getattr(blank, action.dest) is not None
    }


def long_options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return the actions of a command's long options, by name without dashes."""
    return {
        option[2:]: action
        for option, action in parser._option_string_actions.items()
        if option.startswith("--") and action.dest != "help"
    }


def _circuits(value: object, name: str, folder: Path) -> list[str]:
    """Return the circuits that a job file names: one, or a list of several."""
    circuits = []
    for circuit in value if isinstance(value, list) and value else [value]:
        if not isinstance(circuit, str) or not circuit.strip() or circuit.endswith(".toml"):
            raise InputError(f"{name}: circuit = {_shown(circuit)}, expected a circuit's file")
        circuits.append(_resolve_path("circuit", circuit, folder))
    return circuits


def _parse_boolean(text: str, variable: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise InputError(f"{variable}: {_shown(text)}, expected 1, true, yes, on, 0, false, no, or off")


def _read_toml(path: Path, site: bool) -> dict[str, Any]:
    """Return the content of a TOML file."""
    import tomllib

    name = printable_path(path)
    what = "settings as TOML" if site else "a job as TOML"
    try:
        with os.fdopen(open_regular(path, _MAX_FILE_BYTES, what), "rb") as file:
            data = file.read()
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}: is not UTF-8 text (at line {line}), expected {what}") from None
    except InputError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: {reason}, expected {what}") from None


def _entries(content: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any, str]]:
    """Yield each key, its value, and the name of its table."""
    for key, value in content.items():
        if key not in _TABLES:
            yield key, value, ""
        elif isinstance(value, dict):
            for inner_key, inner_value in value.items():
                yield inner_key, inner_value, key
        else:
            raise InputError(f"{name}: {key} = {_shown(value)}, expected a table [{key}]")


def _as_arguments(
    option: str, value: object, action: argparse.Action, source: str, folder: Path | None = None
) -> list[str]:
    """Return the arguments that give an option a value; an empty list for false and []."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise InputError(f"{source}: {option} = {_shown(value)}, expected true or false")
        return [f"--{option}"] if value else []
    is_repeatable = isinstance(action, argparse._AppendAction)
    if isinstance(action, JoinValues):
        value = _joined(value)
    arguments = []
    for each in value if is_repeatable and isinstance(value, list) else [value]:
        if option == "observable" and not isinstance(each, str):
            expected = 'text in quotes, such as "Z0 Z1" or "0011"'
            raise InputError(f"{source}: {option} = {_shown(each)}, expected {expected}")
        text = _as_text(each)
        if text is None:
            kind = "texts or finite numbers" if is_repeatable else "text or a finite number"
            raise InputError(f"{source}: {option} = {_shown(each)}, expected {kind}")
        resolved = text if folder is None else _resolve_path(option, text, folder)
        arguments.append(f"--{option}={resolved}")
    return arguments


def _joined(value: object) -> object:
    """Return a list of whole numbers as one text, and of lists of them as one text for each."""
    if not isinstance(value, list) or not value:
        return value
    if all(type(each) is int for each in value):
        return ",".join(map(str, value))
    return [_joined(each) for each in value]


def _as_text(value: object) -> str | None:
    """Return a text, time or finite number as an argument; None for any other value."""
    from datetime import time

    if isinstance(value, str):
        return value
    if isinstance(value, time):  # time-limit = 01:30:00
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else None
    return str(value) if abs(value) < 1 << 64 else None


def _resolve_path(option: str, text: str, folder: Path) -> str:
    """Return a path in a settings file, which is relative to that file's folder."""
    is_path = option in _PATH_OPTIONS and "://" not in text and not text.startswith("example:")
    if not text.strip() or not (
        is_path or (option in ("noise", "initial") and text.endswith(".json"))
    ):
        return text
    return str(folder / text)


def _nearest(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    return get_close_matches(name[:100], sorted(known), 1, 0.0)[0]


def _shown(value: object) -> str:
    """Return a short text of a value for a message."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return "a number beyond 2^64"
    return repr(value[:60]) if isinstance(value, str) else str(value)
