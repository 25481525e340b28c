"""The value of srun's ``--mpi`` for the MPI that mpi4py is built with, without MPI_Init."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence

_TIMEOUT_SECONDS = 5.0
"""Seconds that a command may take; larger: a slow controller is not mistaken for a dead one."""

_VERSION_PROGRAM = (
    "import sys, mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; "
    "sys.stdout.write(MPI.Get_library_version())"
)
_FLAVOURS = (
    ("Cray MPICH", "CRAY MPICH"),
    ("Intel MPI", r"Intel\(R\) MPI"),
    ("MVAPICH", "MVAPICH"),
    ("MPICH", "MPICH"),
    ("Open MPI", "Open MPI"),
)
"""MPIs and patterns of their version texts; those derived from MPICH come before it."""


def mpi_flavour(version: str) -> tuple[str, str]:
    """Return name and version of an MPI from the text of ``MPI_Get_library_version``.

    Both are empty for an unknown MPI.

    >>> mpi_flavour("Open MPI v5.0.11, package: Open MPI user@host Distribution")
    ('Open MPI', '5.0.11')
    """
    for name, pattern in _FLAVOURS:
        found = re.search(pattern, version, re.IGNORECASE)
        if found:
            number = re.search(r"[0-9]+(\.[0-9a-z]+)+|[0-9]{4}", version[found.end() :])
            return name, number[0] if number else ""
    return "", ""


def parse_plugins(listed: str) -> frozenset[str]:
    r"""Return the plugins in the output of ``srun --mpi=list``.

    >>> sorted(parse_plugins("MPI plugin types are...\n\tnone\n\tpmi2"))
    ['none', 'pmi2']
    """
    names: set[str] = set()
    for line in listed.splitlines():
        line = line.strip().removeprefix("srun:").strip()
        before, colon, after = line.rpartition(":")
        if "..." not in line and (not colon or before.endswith("versions available")):
            names.update(word for word in re.split(r"[\s,]+", after) if word)
    return frozenset(names)


def suitable_plugin(version: str, listed: str) -> str:
    """Return the value of srun's ``--mpi``; empty if no plugin suits the MPI.

    The version is from ``MPI_Get_library_version``, the list from ``srun --mpi=list``, if known.

    >>> suitable_plugin("MPICH Version: 5.0.2", "")
    'pmi2'
    """
    name = mpi_flavour(version)[0]
    known = parse_plugins(listed)
    if name == "Open MPI":
        numbers = [int(name[6:]) for name in known if re.fullmatch("pmix_v[0-9]{1,3}", name)]
        candidates = ["pmix", *(f"pmix_v{number}" for number in sorted(numbers, reverse=True))]
    elif name == "Cray MPICH":
        candidates = ["cray_shasta", "pmi2"] if known else ["pmi2"]
    else:
        candidates = ["pmi2"] if name else []
    return next((name for name in candidates if name in known or not known), "")


def library_version() -> str:
    """Return the version text of mpi4py's MPI, without MPI_Init; empty if there is no MPI.

    A process of its own loads the MPI, because some abort or print where no launcher started them.
    """
    return command_output([sys.executable, "-P", "-c", _VERSION_PROGRAM], 2 * _TIMEOUT_SECONDS)


def list_plugins() -> str:
    """Return the output of ``srun --mpi=list``, which older versions write to stderr."""
    return command_output(["srun", "--mpi=list"], errors=True)


def suitable_plugin_here() -> str:
    """Return the value of srun's ``--mpi`` on this machine; empty if no plugin suits."""
    version = library_version()
    return suitable_plugin(version, list_plugins()) if version else ""


def command_output(
    command: Sequence[str], seconds: float = _TIMEOUT_SECONDS, *, errors: bool = False
) -> str:
    """Return a command's output; empty if it is missing, fails, or takes longer than some seconds.

    The output includes stderr if ``errors`` is true.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors else subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=seconds,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout
