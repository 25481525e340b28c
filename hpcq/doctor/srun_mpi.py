"""Which ``--mpi`` srun needs for the MPI that mpi4py is built with; MPI is not started for it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence

_SECONDS = 5.0
_VERSION = (
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
"""MPIs by what their version text says; those that are made from MPICH come before it."""


def flavour(version: str) -> tuple[str, str]:
    """Read which MPI it is, and its version, out of ``MPI_Get_library_version``'s text.

    Both are empty where the text is of no MPI that is known here.

    >>> flavour("Open MPI v5.0.11, package: Open MPI user@host Distribution")
    ('Open MPI', '5.0.11')
    """
    for name, pattern in _FLAVOURS:
        found = re.search(pattern, version, re.IGNORECASE)
        if found:
            number = re.search(r"[0-9]+(\.[0-9a-z]+)+|[0-9]{4}", version[found.end() :])
            return name, number[0] if number else ""
    return "", ""


def plugins(listed: str) -> frozenset[str]:
    r"""Read what ``srun --mpi=list`` lists.

    >>> sorted(plugins("MPI plugin types are...\n\tnone\n\tpmi2"))
    ['none', 'pmi2']
    """
    names: set[str] = set()
    for line in listed.splitlines():
        line = line.strip().removeprefix("srun:").strip()
        before, colon, after = line.rpartition(":")
        if "..." not in line and (not colon or before.endswith("versions available")):
            names.update(word for word in re.split(r"[\s,]+", after) if word)
    return frozenset(names)


def srun_mpi(version: str, listed: str) -> str:
    """Return the word for srun's ``--mpi``; empty where nothing fits.

    Args:
        version: The text of ``MPI_Get_library_version``.
        listed: What ``srun --mpi=list`` said; empty where that is not known.

    >>> srun_mpi("MPICH Version: 5.0.2", "")
    'pmi2'
    """
    name = flavour(version)[0]
    known = plugins(listed)
    if name == "Open MPI":
        numbers = [int(own[6:]) for own in known if re.fullmatch("pmix_v[0-9]{1,3}", own)]
        fits = ["pmix", *(f"pmix_v{number}" for number in sorted(numbers, reverse=True))]
    elif name == "Cray MPICH":
        fits = ["cray_shasta", "pmi2"] if known else ["pmi2"]
    else:
        fits = ["pmi2"] if name else []
    return next((own for own in fits if own in known or not known), "")


def library_version() -> str:
    """Ask mpi4py's MPI for its version text, without MPI_Init; empty where there is none.

    A process of its own asks: some MPIs abort, or print, where they are loaded out of place.
    """
    return answer([sys.executable, "-P", "-c", _VERSION], 2 * _SECONDS)


def listed_plugins() -> str:
    """Ask srun what it lists; older ones say it on stderr. Empty where there is no srun."""
    return answer(["srun", "--mpi=list"], errors=True)


def found_srun_mpi() -> str:
    """Return the word for srun's ``--mpi`` here; empty where nothing fits."""
    version = library_version()
    return srun_mpi(version, listed_plugins()) if version else ""


def answer(command: Sequence[str], seconds: float = _SECONDS, *, errors: bool = False) -> str:
    """Return what a command says; nothing if it is not there, fails, or takes too long.

    Args:
        command: Its words.
        seconds: How long it may take.
        errors: Whether what it says on stderr counts too.
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
