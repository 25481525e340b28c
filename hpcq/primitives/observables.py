"""Observables of pubs, and keys by which equal ones are found."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.quantum_info import SparseObservable


def flat_observables(observables: ObservablesArray) -> list[SparseObservable]:
    """Return the observables of an array of any shape, in C order."""
    flat = observables.ravel()
    if hasattr(flat, "sparse_observables_array"):
        return list(flat.sparse_observables_array())
    # Qiskit 2.0 has mappings from labels to coefficients instead.
    return [SparseObservable.from_list(list(each.items())) for each in flat.tolist()]


def observable_key(observable: SparseObservable) -> Hashable:
    """Return a key that is equal for equal observables only."""
    parts = observable.coeffs, observable.bit_terms, observable.indices, observable.boundaries
    return observable.num_qubits, *(np.asarray(part).tobytes() for part in parts)
