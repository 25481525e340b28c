"""Freed memory is kept, so that the kernel need not clear new pages for the next arrays."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

_PAGES = """
import resource
import numpy as np
from hpcq.core.allocator import keep_freed_memory

keep_freed_memory()
for number in range(23):
    if number == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    _ = np.ones(1 << 20) + np.ones(1 << 20)  # 8 MiB each
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _new_pages(**variables: str) -> int:
    """Return the number of new pages of 20 rounds of arrays, in a process of their own."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))
    }
    command = [sys.executable, "-c", _PAGES]
    done = subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is set")
def test_arrays_get_the_memory_of_freed_ones() -> None:
    assert _new_pages() < 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is set")
def test_the_environment_has_the_last_word() -> None:
    # Arrays of 1 MiB and more are then mapped each on its own.
    assert _new_pages(MALLOC_MMAP_THRESHOLD_=str(1 << 20)) >= 100
