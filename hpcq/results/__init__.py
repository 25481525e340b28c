"""Results as HDF5 files; the only package that imports h5py."""

from hpcq.results.hdf5_files import read_seal
from hpcq.results.hdf5_progress import load_stages
from hpcq.results.hdf5_results import (
    check_output,
    load,
    load_fingerprint,
    load_progress,
    load_summary,
    rewrite,
    save,
)

__all__ = [
    "check_output",
    "load",
    "load_fingerprint",
    "load_progress",
    "load_stages",
    "load_summary",
    "read_seal",
    "rewrite",
    "save",
]
