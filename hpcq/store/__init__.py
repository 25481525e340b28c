"""Results as HDF5 files; the only package that imports h5py."""

from hpcq.store.results import check_output, load, load_summary, save

__all__ = ["check_output", "load", "load_summary", "save"]
