"""Results as HDF5 files; the only package that imports h5py."""

from hpcq.results.hdf5_files import seal_of
from hpcq.results.hdf5_progress import read_progress
from hpcq.results.hdf5_results import (
    check_output,
    fingerprint_in,
    load,
    load_progress,
    load_summary,
    rewrite,
    save,
)

__all__ = [
    "check_output",
    "fingerprint_in",
    "load",
    "load_progress",
    "load_summary",
    "read_progress",
    "rewrite",
    "save",
    "seal_of",
]
