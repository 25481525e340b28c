"""Results and their HDF5 files; the only package that imports h5py.

A result enters, complete or partial, and a file leaves; or the other way round. A file is written
all or nothing and sealed with a SHA-256, and nothing in a file is trusted until it is checked:
content that no run writes raises an InputError of one line. Files contain arrays, JSON and QPY,
never pickles, and the names in them never change. Each field is declared once, with the dataclass
that holds it.
"""

from hpcq.results.hdf5_files import check_output, read_seal
from hpcq.results.result import load, load_fingerprint, load_progress, load_summary, rewrite

__all__ = [
    "check_output",
    "load",
    "load_fingerprint",
    "load_progress",
    "load_summary",
    "read_seal",
    "rewrite",
]
