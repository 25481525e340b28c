"""Settings: what a site file, a job file and the environment say, where flags don't.

Each of them becomes words of the command line, ``--max-qubits=20`` say, which the command's own
parser reads, so that a value is checked in one place wherever it comes from. The layers are laid
over each other by option: a higher one replaces all that a lower one says of it. What options
there are is asked of the parsers; none of those named here could be left out, or be required.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.errors import InputError
from hpcq.files import open_regular, printable_path
from hpcq.machine import complain, launched_rank

if TYPE_CHECKING:
    from hpcq.farm.serial import Farm

PREFIX = "HPCQ_"
SITE_VARIABLE = "HPCQ_SITE"
"""Environment variable: the site file, or ``none`` for none at all."""

_OTHERS = (
    SITE_VARIABLE,
    *(
        "HPCQ_AER_MPI",
        "HPCQ_CALIBRATION",
        "HPCQ_CARDS_SEEN",
        "HPCQ_RANK_0",
        "HPCQ_START_SECONDS",
        "HPCQ_WORKERS",
    ),
    *(
        "HPCQ_FIRST_RANKS",
        "HPCQ_IMAGE",
        "HPCQ_OUTPUT",
        "HPCQ_REQUEUES",
        "HPCQ_SECONDS",
        "HPCQ_SRUN_MPI",
    ),
)
"""Variables that are no options: hpcq's own, and those of its job scripts."""

_EVERYBODY = Path("/etc/hpcq/site.toml")
_TABLES = ("run", "slurm")
_MAX_FILE_BYTES = 256 << 10

_PATHS = frozenset({"circuit", "container", "cuts", "draw", "observables", "output", "save"})
_TOGETHER = ("observable", "observables")
_OF_A_SEARCH = ("objective", "search_seconds", "reuse_qubits", "pareto")
_OFF = object()
"""Value of a flag that a layer switches off, back to its default."""

_FLAGS, _ENVIRONMENT, _JOB, _SITE = range(4)

Check = Callable[[argparse.Namespace], None]
Layer = dict[str, Any]


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
        check: Called with the options of each layer alone; raises InputError if they clash.
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
        for option, action in _long_options(each).items()
    }
    layers = {_FLAGS: _read(own, words[words.index(command) + 1 :], check)}
    layers[_ENVIRONMENT] = _of_environment(environment, own, known, check)
    if options.circuit.endswith(".toml"):
        layers[_JOB] = _of_file(Path(options.circuit), _JOB, own, known, check)
        options.circuit = layers[_JOB].pop("circuit")
    site = _site_file(environment)
    if site is not None:
        layers[_SITE] = _of_file(site, _SITE, own, known, check)
    found = _merged(layers, _rivals(own))
    vars(options).update(found)
    options.arguments = [command, options.circuit, *_said(found, own)]


def agree(options: argparse.Namespace, farm: Farm) -> None:
    """Have every rank take rank 0's options: its files and variables may not be there elsewhere.

    Raises:
        InputError: On every rank, if rank 0 found a setting wrong.
    """
    mine = {name: own for name, own in vars(options).items() if name not in ("command", "refusal")}
    told = farm.share(json.dumps([str(options.refusal or ""), mine]).encode())
    refusal, heard = json.loads(told)
    if refusal:
        raise InputError(refusal)
    vars(options).update(heard)


def _said(found: Layer, parser: argparse.ArgumentParser) -> list[str]:
    """Return words that say all that was found, with no help of files and variables."""
    words = []
    for option, action in _long_options(parser).items():
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


def _long_options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return what a command's options do, by name without the dashes."""
    return {
        option[2:]: action
        for option, action in parser._option_string_actions.items()
        if option.startswith("--") and action.dest != "help"
    }


def _read(
    parser: argparse.ArgumentParser, words: Sequence[str], check: Check, source: str = ""
) -> Layer:
    """Return what words of a command line say, and no defaults.

    Raises:
        InputError: If they are wrong, or contradict each other; the message begins with the source.
    """
    blank = argparse.Namespace(**{action.dest: None for action in parser._actions})
    try:
        parser.parse_known_args(words, blank)
        given = {
            action.dest: getattr(blank, action.dest)
            for action in parser._actions
            if action.option_strings and getattr(blank, action.dest) is not None
        }
        check(blank)
    except InputError as error:
        raise InputError(f"{source}: {error}" if source else str(error)) from None
    return given


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
            if name == "precision":  # of numbers and of answers; either may come from elsewhere
                held = found.get(name, [])
                found[name] = held + [x for x in value if type(x) not in map(type, held)]
            elif name not in settled:
                found[name] = value
                origin[name] = place
        for name, value in layer.items():
            for each in {name} if value is _OFF else rivals.get(name, {name}):
                settled.setdefault(each, place)
    if "max_qubits" not in found:  # no search: only who asked for one has to be told
        for name in _OF_A_SEARCH:
            place = origin.get(name, _FLAGS)
            if place in (_ENVIRONMENT, _SITE) or settled.get("max_qubits", place) < place:
                found.pop(name, None)
    return {name: value for name, value in found.items() if value is not _OFF}


def _rivals(parser: argparse.ArgumentParser) -> dict[str, frozenset[str]]:
    groups = [
        frozenset(action.dest for action in group._group_actions)
        for group in parser._mutually_exclusive_groups
    ]
    return {name: group for group in (*groups, frozenset(_TOGETHER)) for name in group}


def _of_environment(
    environment: Mapping[str, str],
    parser: argparse.ArgumentParser,
    known: Mapping[str, argparse.Action],
    check: Check,
) -> Layer:
    """Return what variables say; one that nobody knows gets a line on stderr."""
    names = {PREFIX + option.upper().replace("-", "_"): option for option in known}
    own = _long_options(parser)
    layer: Layer = {}
    words: list[str] = []
    for variable, value in sorted(environment.items()):
        if not variable.startswith(PREFIX) or not value:
            continue
        option = names.get(variable)
        if option is None:
            if variable not in _OTHERS and launched_rank(environment) == 0:
                near = _nearest(variable, (*names, *_OTHERS))
                shown = printable_path(variable)
                complain(f"hpcq: warning: {shown} is no setting, the nearest is {near}")
        elif option in own:
            given: Any = value
            if own[option].nargs == 0:
                given = _truth(value)
                if given is None:
                    raise InputError(
                        f"{variable}: {_shown(value)}, expected 1, true, yes, on, "
                        "0, false, no, or off"
                    )
            more = _words(option, given, own[option], variable)
            layer.update(_read(parser, ["-", *more], check, variable) or {own[option].dest: _OFF})
            words += more
    _read(parser, ["-", *words], check, "environment")
    return layer


def _truth(text: str) -> bool | None:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    return False if word in ("0", "false", "no", "off") else None


def _site_file(environment: Mapping[str, str]) -> Path | None:
    """Return the file with the defaults of this site, if there is one."""
    named = environment.get(SITE_VARIABLE, "")
    if named:
        return None if named == "none" else Path(named)
    places = [_EVERYBODY]
    config = environment.get("XDG_CONFIG_HOME", "")
    with contextlib.suppress(RuntimeError):  # nobody's home
        folder = Path(config) if config.startswith("/") else Path("~/.config").expanduser()
        places.insert(0, folder / "hpcq" / "site.toml")
    for place in places:
        with contextlib.suppress(OSError):
            if place.exists():
                return place
    return None


def _of_file(
    path: Path,
    kind: int,
    parser: argparse.ArgumentParser,
    known: Mapping[str, argparse.Action],
    check: Check,
) -> Layer:
    """Return what a job file or site file says.

    In a site file, and in a table [slurm], ``partition`` can only be SLURM's: a key means the
    option ``--slurm-KEY`` first.
    """
    name = printable_path(path)
    own = _long_options(parser)
    found: Layer = {}
    layer: Layer = {}
    words: list[str] = []
    for key, value, table in _entries(_content(path, kind), name):
        slurm = kind == _SITE or table == "slurm"
        options = set(known) - {"partition"} if slurm else {*known, "circuit"}
        option = key.replace("_", "-")
        if slurm and f"slurm-{option}" in options:
            option = f"slurm-{option}"
        if option not in options:
            near = _nearest(option.lower(), options)
            raise InputError(f"{name}: unknown key {_shown(key)}, expected one such as {near!r}")
        if option in found:
            raise InputError(f"{name}: {option!r} is given twice")
        found[option] = value
        if option == "circuit":
            if not isinstance(value, str) or not value.strip() or value.endswith(".toml"):
                raise InputError(f"{name}: circuit = {_shown(value)}, expected a circuit's file")
            layer[option] = _placed(option, value, path.parent)
            continue
        action = known[option]
        more = _words(option, value, action, name, path.parent)
        if option in own:
            words += more
            if not more:
                layer[action.dest] = _OFF if action.nargs == 0 else []
    if kind == _JOB and "circuit" not in layer:
        raise InputError(f'{name}: it names no circuit, expected circuit = "FILE"')
    return layer | _read(parser, ["-", *words], check, name)


def _content(path: Path, kind: int) -> dict[str, Any]:
    """Read a TOML file."""
    import tomllib

    name = printable_path(path)
    what = "settings as TOML" if kind == _SITE else "a job as TOML"
    try:
        with os.fdopen(open_regular(path, _MAX_FILE_BYTES, what), "rb") as file:
            data = file.read()
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}: is no text in UTF-8 (at line {line})") from None
    except InputError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: {reason}, expected {what}") from None


def _entries(content: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any, str]]:
    """Yield keys and values, and the table that they are in."""
    for key, value in content.items():
        if key not in _TABLES:
            yield key, value, ""
        elif isinstance(value, dict):
            for inner, own in value.items():
                yield inner, own, key
        else:
            raise InputError(f"{name}: {key} = {_shown(value)}, expected a table [{key}]")


def _words(
    option: str, value: object, action: argparse.Action, source: str, folder: Path | None = None
) -> list[str]:
    """Return the words of a command line that give an option a value; none for false, or [].

    Raises:
        InputError: If the value is of a kind that the option does not take.
    """
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise InputError(f"{source}: {option} = {_shown(value)}, expected true or false")
        return [f"--{option}"] if value else []
    several = isinstance(action, argparse._AppendAction)
    words = []
    for own in value if several and isinstance(value, list) else [value]:
        text = _text_of(own)
        if text is None:
            kind = "texts or finite numbers" if several else "text or a finite number"
            raise InputError(f"{source}: {option} = {_shown(own)}, expected {kind}")
        words.append(f"--{option}={text if folder is None else _placed(option, text, folder)}")
    return words


def _text_of(value: object) -> str | None:
    """Return a plain value as it would stand on a command line; None if it is none."""
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


def _placed(option: str, text: str, folder: Path) -> str:
    """Return the path that a file means: it is relative to the file's own folder."""
    is_path = option in _PATHS and "://" not in text and not text.startswith("example:")
    if not text.strip() or not (is_path or (option == "noise" and text.endswith(".json"))):
        return text
    return str(folder / text)


def _nearest(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    return get_close_matches(name[:100], sorted(known), 1, 0.0)[0]


def _shown(value: object) -> str:
    """Return a value for a message, in a few characters."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return "a number beyond 2^64"
    return repr(value[:60]) if isinstance(value, str) else str(value)
