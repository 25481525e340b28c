"""Where settings come from: variables of the environment, a job file, and a file of the site."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.files import open_regular, printable_path
from hpcq.core.system import launched_rank, write_stderr

PREFIX = "HPCQ_"
ENVIRONMENT = "environment"
"""What messages call all variables together."""

SITE_VARIABLE = "HPCQ_SITE"
"""Environment variable: the site file, or ``none`` for none at all."""

_OTHERS = (
    SITE_VARIABLE,
    *(
        "HPCQ_AER_MPI",
        "HPCQ_CALIBRATION",
        "HPCQ_GPUS_SEEN",
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
OFF = object()
"""Value of a flag that a layer switches off, back to its default."""

Check = Callable[[argparse.Namespace, str], None]
"""Called with the options that one source gives, and the source's name; empty for flags."""

Layer = dict[str, Any]


def of_environment(
    environment: Mapping[str, str],
    parser: argparse.ArgumentParser,
    known: Mapping[str, argparse.Action],
    check: Check,
) -> Layer:
    """Return what variables say; one that nobody knows gets a line on stderr."""
    names = {PREFIX + option.upper().replace("-", "_"): option for option in known}
    own = long_options(parser)
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
                write_stderr(f"hpcq: warning: {shown} is no setting, the nearest is {near}")
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
            layer.update(read(parser, ["-", *more], check, variable) or {own[option].dest: OFF})
            words += more
    read(parser, ["-", *words], check, ENVIRONMENT)
    return layer


def site_file(environment: Mapping[str, str]) -> Path | None:
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


def of_file(
    path: Path,
    parser: argparse.ArgumentParser,
    known: Mapping[str, argparse.Action],
    check: Check,
    *,
    site: bool,
) -> Layer:
    """Return what a job file or site file says.

    In a site file, and in a table [slurm], ``partition`` can only be SLURM's: a key means the
    option ``--slurm-KEY`` first.
    """
    name = printable_path(path)
    own = long_options(parser)
    found: Layer = {}
    layer: Layer = {}
    words: list[str] = []
    for key, value, table in _entries(_content(path, site), name):
        slurm = site or table == "slurm"
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
                layer[action.dest] = OFF if action.nargs == 0 else []
    if not site and "circuit" not in layer:
        raise InputError(f'{name}: it names no circuit, expected circuit = "FILE"')
    return layer | read(parser, ["-", *words], check, name)


def read(
    parser: argparse.ArgumentParser, words: Sequence[str], check: Check, source: str = ""
) -> Layer:
    """Return what words of a command line say, and no defaults.

    Raises:
        InputError: If they are wrong, or contradict each other; the message begins with the source.
    """
    blank = argparse.Namespace(**{action.dest: None for action in parser._actions})
    try:
        parser.parse_known_args(words, blank)
        check(blank, source)
    except InputError as error:
        raise InputError(f"{source}: {error}" if source else str(error)) from None
    return {
        action.dest: getattr(blank, action.dest)
        for action in parser._actions
        if action.option_strings and getattr(blank, action.dest) is not None
    }


def long_options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return what a command's options do, by name without the dashes."""
    return {
        option[2:]: action
        for option, action in parser._option_string_actions.items()
        if option.startswith("--") and action.dest != "help"
    }


def _truth(text: str) -> bool | None:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    return False if word in ("0", "false", "no", "off") else None


def _content(path: Path, site: bool) -> dict[str, Any]:
    """Read a TOML file."""
    import tomllib

    name = printable_path(path)
    what = "settings as TOML" if site else "a job as TOML"
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
        if option == "observable" and not isinstance(own, str):
            raise InputError(
                f"{source}: {option} = {_shown(own)}, expected text in quotes, such as "
                '"Z0 Z1" or "0011"'
            )
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
