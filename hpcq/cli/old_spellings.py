"""Old spellings of options, which still work: what replaces them, and the notice about it."""

from __future__ import annotations

import argparse

from hpcq.cli.setting_sources import ENVIRONMENT, PREFIX
from hpcq.core.errors import InputError
from hpcq.core.limits import DTYPES

DTYPE_OF: dict[str, str] = {precision: dtype for dtype, precision in DTYPES.items()}
"""The ``dtype`` for each word that ``precision`` took."""


class OldSpellings:
    """Replaces old spellings in parsed options, and collects which there were.

    ``--partition`` became ``--cut-labels``, and ``--precision``, which had two meanings, became
    ``--dtype`` and ``--target-error``.
    """

    def __init__(self) -> None:
        self._renamed: dict[str, None] = {}  # in the order in which they were found
        self._is_submit = False

    def replace(self, options: argparse.Namespace, source: str = "") -> None:
        """Move the values of old spellings to the options that replaced them.

        Args:
            options: What a parser returned; changed in place. An option that was not given is None.
                Where SLURM's partition may be meant, ``may_mean_slurm_partition`` is set.
            source: The file or variable that gives the options; empty for flags.

        Raises:
            InputError: If an option is given by its old and its new spelling, or ``precision`` is
                given twice with the same meaning.
        """
        if getattr(options, "partition", None) is not None:
            options.cut_labels, options.partition = options.partition, None
            self._note("partition", "cut-labels", source)
            if hasattr(options, "slurm_partition"):
                self._is_submit = options.may_mean_slurm_partition = True
        given = getattr(options, "precision", None)
        if not given:
            return
        dtypes = [DTYPE_OF[value] for value in given if isinstance(value, str)]
        errors = [value for value in given if isinstance(value, float)]
        if len(dtypes) > 1 or len(errors) > 1:
            raise InputError(
                f"precision: given as {' and '.join(map(str, given))}, expected single or double "
                "at most once, and a standard error at most once"
            )
        for name, values in (("dtype", dtypes), ("target_error", errors)):
            option = name.replace("_", "-")
            if values and getattr(options, name) is not None:
                together = f"given together with {option}"
                raise InputError(f"precision: {together}, expected {option} alone")
            if values:
                setattr(options, name, values[0])
                self._note("precision", option, source)
        options.precision = None

    @property
    def notice(self) -> str:
        """One line that names old spellings and what replaces them; empty if there were none."""
        if not self._renamed:
            return ""
        more = ", and SLURM's partition is --slurm-partition or -p" if self._is_submit else ""
        return f"hpcq: note: {', '.join(self._renamed)}{more}; the old spelling still works"

    def _note(self, old: str, new: str, source: str) -> None:
        """Note that an option was given by its old spelling, in the words of its source."""
        variable, new_variable = (PREFIX + name.upper().replace("-", "_") for name in (old, new))
        if not source:
            renamed = f"--{old} is now --{new}"
        elif source in (ENVIRONMENT, variable):
            renamed = f"{variable} is now {new_variable}"
        else:
            renamed = f"{source}: {old} is now {new}"
        self._renamed[renamed] = None
