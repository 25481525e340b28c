"""How srun must be told to start the MPI that mpi4py is built with."""

from __future__ import annotations

import re
import subprocess

_SECONDS = 10.0
_WORDS = {
    "Open MPI": ("pmix",),
    "CRAY MPICH": ("cray_shasta", "pmi2"),
    "MPICH": ("pmi2",),
    "Intel": ("pmi2",),
    "MVAPICH": ("pmi2",),
}
"""Words for srun's --mpi by what a library calls itself, the best one first."""


def srun_mpi() -> str:
    """Return the word for srun's ``--mpi`` on this machine; empty where nobody knows."""
    return word_for(_library(), _offered())


def word_for(library: str, offered: str | None) -> str:
    """Return the word for srun's ``--mpi``.

    Args:
        library: What the MPI library calls itself; empty if there is none.
        offered: What ``srun --mpi=list`` says; None where there is no srun to ask.

    Example:
        >>> word_for("Open MPI v5.0.11, package: ...", "MPI plugin types are... pmi2 pmix pmix_v4")
        'pmix'
    """
    words: tuple[str, ...] = ()
    for name, own in reversed(_WORDS.items()):
        if name.upper() in library.upper():
            words = own
    if offered is None:
        return words[0] if words else ""
    known: list[str] = re.findall(r"\w+", offered)
    for word in words:
        versions = sorted((own for own in known if own.startswith(f"{word}_v")), reverse=True)
        for found in (word, *versions):
            if found in known:
                return found
    return ""


def _library() -> str:
    """Ask mpi4py for its MPI, without starting it."""
    try:
        import mpi4py

        mpi4py.rc.initialize = False
        from mpi4py import MPI

        return str(MPI.Get_library_version())
    except (ImportError, RuntimeError, OSError):
        return ""


def _offered() -> str | None:
    try:
        done = subprocess.run(
            ["srun", "--mpi=list"], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout + done.stderr
