"""The version of hpcq, defined only here, and the versions of the packages that it uses."""

from __future__ import annotations

from functools import cache

__version__ = "0.1.0"

PACKAGES = ("qiskit", "qiskit-aer", "qiskit-aer-gpu", "numpy", "h5py", "mpi4py", "cotengra")
"""Packages whose versions may change a result; they are recorded with it."""


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Return the versions of hpcq, of Python and of those of the packages that are installed."""
    return dict(_installed(packages))


@cache
def _installed(packages: tuple[str, ...]) -> dict[str, str]:
    """Look the versions up, once per process, as it takes as long as a small run."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    installed = {"hpcq": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed
