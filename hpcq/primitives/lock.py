"""The lock that all primitives share."""

from __future__ import annotations

import threading

computing = threading.RLock()
"""Lock held while results are computed, because algorithms may call from several threads."""
