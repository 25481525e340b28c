"""Job scripts, rendered from the templates in ``jobscripts/`` that users copy too."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpcq.core.errors import HpcqError
from hpcq.jobs.job_command import JobCommand

_COMMAND_MARK = "# ---- what to run (hpcq submit writes this part) ----"
_ENVIRONMENT_MARK = "# ---- environment (hpcq submit writes this part) ----"
_END_MARK = "# ---- end ----"
_CALL = re.compile(r'hpcq run "\$circuit"( --output "\$output".*) "\$@"')
_DIRECTIVE = re.compile(r"^(#+)SBATCH --([a-z-]+)(=.*)?$")


def read_template(name: str) -> str:
    """Return the text of one of ``jobscripts/``; raise an HpcqError if there is none."""
    path = Path(__file__).parent.parent / "jobscripts" / f"{name}.sbatch"
    try:
        return path.read_text()
    except OSError:
        raise HpcqError(f"jobscripts: there is no {name}.sbatch in the package") from None


def for_command(text: str, command: JobCommand) -> str:
    """Return a template, which starts ``hpcq run``, for another command.

    Raises:
        HpcqError: If it does not start ``hpcq run`` exactly once.
    """
    if command.name == "run":
        return text
    words = shlex.join([command.name, *command.before])

    def call(found: re.Match[str]) -> str:
        return f'hpcq {words} "$circuit"{found[1] * command.writes_output} "$@"'

    text, count = _CALL.subn(call, text)
    if count != 1:
        raise HpcqError("jobscripts: a template, expected one that calls `hpcq run` exactly once")
    return text


def render(
    text: str,
    directives: Mapping[str, str | None],
    variables: Mapping[str, str],
    arguments: Sequence[str],
    setup: Sequence[str] = (),
) -> str:
    """Fill in a template.

    Args:
        text: The template.
        directives: Options of sbatch by name; an empty value is an option without one, None
            removes the template's.
        variables: Values of the script's variables.
        arguments: The script's arguments.
        setup: Lines of shell to run first.
    """
    command_lines = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    command_lines.append(" ".join(["set --", *map(shlex.quote, arguments)]))
    bin_folder = shlex.quote(str(Path(sys.executable).parent))
    environment_lines = [*setup, f'export PATH={bin_folder}:"$PATH"']
    text = _replace_block(_set_directives(text, directives), _ENVIRONMENT_MARK, environment_lines)
    return _replace_block(text, _COMMAND_MARK, command_lines)


def _replace_block(text: str, mark: str, lines: Sequence[str]) -> str:
    """Replace the lines between a mark and the end mark."""
    before, found, rest = text.partition(f"{mark}\n")
    _, ended, after = rest.partition(f"{_END_MARK}\n")
    if not found or not ended:
        raise HpcqError(f"jobscripts: a template without {mark!r}")
    return before + "\n".join([mark, *lines, _END_MARK]) + f"\n{after}"


def _set_directives(text: str, directives: Mapping[str, str | None]) -> str:
    """Set options of sbatch, each in place of the template's, or after the last one."""
    remaining = dict(directives)
    lines: list[str] = []
    end_of_directives = 0
    for line in text.split("\n")[:-1]:
        found = _DIRECTIVE.match(line)
        if found is None:
            lines.append(line)
            continue
        name = found[2]
        if name in remaining:
            value = remaining.pop(name)
            if value is not None:
                lines.append(_directive(name, value))
        elif found[1] == "#":
            lines.append(line)
        end_of_directives = len(lines)
    more = [_directive(name, value) for name, value in remaining.items() if value is not None]
    return "\n".join([*lines[:end_of_directives], *more, *lines[end_of_directives:]]) + "\n"


def _directive(name: str, value: str) -> str:
    return f"#SBATCH --{name}={value}" if value else f"#SBATCH --{name}"
