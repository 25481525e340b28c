"""Job scripts, made of the same templates that users copy."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpcq.core.errors import HpcqError

_WHAT = "# ---- what to run (hpcq submit writes this part) ----"
_WHERE = "# ---- environment (hpcq submit writes this part) ----"
_END = "# ---- end ----"
_DIRECTIVE = re.compile(r"^(#+)SBATCH --([a-z-]+)(=.*)?$")


def template(name: str) -> str:
    """Return one of ``jobscripts/``.

    Raises:
        HpcqError: If it is not there.
    """
    place = Path(__file__).parent.parent / "jobscripts" / f"{name}.sbatch"
    try:
        return place.read_text()
    except OSError:
        raise HpcqError(f"jobscripts: there is no {name}.sbatch in the package") from None


def render(
    text: str,
    directives: Mapping[str, str | None],
    variables: Mapping[str, str],
    words: Sequence[str],
    setup: Sequence[str] = (),
) -> str:
    """Fill in a template.

    Args:
        text: The template.
        directives: Options of sbatch by name; an empty value is a bare option, None takes the
            template's out.
        variables: What the script's variables are.
        words: Its arguments.
        setup: Lines of shell before all else.
    """
    what = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    what.append(" ".join(["set --", *map(shlex.quote, words)]))
    bin_folder = shlex.quote(str(Path(sys.executable).parent))
    where = [*setup, f'export PATH={bin_folder}:"$PATH"']
    text = _replaced(_with_directives(text, directives), _WHERE, where)
    return _replaced(text, _WHAT, what)


def _replaced(text: str, mark: str, lines: Sequence[str]) -> str:
    """Put lines in place of those between a mark and the end."""
    before, found, rest = text.partition(f"{mark}\n")
    _, ended, after = rest.partition(f"{_END}\n")
    if not found or not ended:
        raise HpcqError(f"jobscripts: a template without {mark!r}")
    return before + "\n".join([mark, *lines, _END]) + f"\n{after}"


def _with_directives(text: str, directives: Mapping[str, str | None]) -> str:
    """Set options of sbatch, each in the place of the template's or behind the last one."""
    left = dict(directives)
    lines: list[str] = []
    last = 0
    for line in text.split("\n")[:-1]:
        found = _DIRECTIVE.match(line)
        if found is None:
            lines.append(line)
            continue
        name = found[2]
        if name in left:
            value = left.pop(name)
            if value is not None:
                lines.append(_directive(name, value))
        elif found[1] == "#":
            lines.append(line)
        last = len(lines)
    more = [_directive(name, value) for name, value in left.items() if value is not None]
    return "\n".join([*lines[:last], *more, *lines[last:]]) + "\n"


def _directive(name: str, value: str) -> str:
    return f"#SBATCH --{name}={value}" if value else f"#SBATCH --{name}"
