"""The version of hpcq, which no other place states, and those of the packages around it."""

from __future__ import annotations

from collections.abc import Iterable

__version__ = "0.1.0"

PACKAGES = (
    "qiskit",
    "qiskit-aer",
    "qiskit-aer-gpu",
    "numpy",
    "h5py",
    "mpi4py",
    "cotengra",
)
"""What a result depends on."""


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of hpcq, Python and those of the packages that are installed."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"hpcq": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
