"""Arrays of NumPy, or of another module with its functions, such as CuPy for a GPU.

Code for all of them uses only methods and operators of the data, and functions of the data's own
module, to which it copies constants with ``asarray``. Indices may be NumPy's.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def namespace_of(array: Any) -> Any:
    """Return the module of an array: its namespace in the array API, with NumPy's functions."""
    # Asking an array of NumPy takes six times as long.
    return np if type(array) is np.ndarray else array.__array_namespace__()
