"""Judge the answers of methods, and add up what hpcq's choice among them costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
"""The answer of one method to one circuit, as ``routing_worker.py`` gives it."""

SINGLE = ("statevector", "stabilizer", "pauli", "mps", "cut")
"""hpcq's methods that ``auto`` chooses from."""

TOLERANCE = 1e-8
"""Largest error bound of a method that counts, relative to the sum of absolute coefficients: the
default of hpcq's ``error_tolerance``."""

ROUNDING = 1e-9
"""What is allowed on top of an error bound for rounding, relative to the same sum."""

FACTOR, SPARE_SECONDS = 2.0, 0.3
"""hpcq's choice is good if it takes at most this many times the best method's seconds, or this many
seconds more."""


@dataclass(frozen=True)
class Case:
    """All answers to one circuit.

    Attributes:
        name: The circuit.
        records: The answers, by method.
    """

    name: str
    records: Mapping[str, Record]

    def reference(self) -> list[float | None]:
        """Return the true values; where they are not known, what two methods agree on, or None.

        ``auto`` has no say, as it is one of the other methods, and two answers that came about in
        the same way, such as by ``statevector`` and by ``cut`` without a cut, count as one.
        """
        scales = self.scales()
        known = self.records.get("truth", {}).get("values") or [None] * len(scales)
        answers = {
            self.records[method]["method"] or method: self.records[method]["values"]
            for method in (*SINGLE, "aer")
            if self.records.get(method, {}).get("status") == "answered"
        }
        return [
            _agreed([values[index] for values in answers.values()], scale)
            if value is None
            else value
            for index, (value, scale) in enumerate(zip(known, scales, strict=True))
        ]

    def scales(self) -> list[float]:
        """Return the sum of absolute coefficients of each observable."""
        return next((r["scales"] for r in self.records.values() if "scales" in r), [])

    def verdict(self, method: str) -> str:
        """Return how a method did.

        ``right``, ``unchecked`` (nothing to compare with), ``loose`` (within its bound, which is
        larger than the tolerance), ``wrong``, ``over`` (off by more than its own bound), or why it
        has no answer: ``refused``, ``timeout``, ``died``; ``-`` if it was not asked.
        """
        record = self.records.get(method)
        if record is None:
            return "-"
        if record["status"] != "answered":
            return str(record["status"])
        found = {
            _verdict(*row)
            for row in zip(
                record["values"], record["bounds"], self.reference(), self.scales(), strict=True
            )
        }
        worst_first = ("over", "wrong", "loose", "unchecked", "right")
        return next(verdict for verdict in worst_first if verdict in found)

    def counts(self, method: str) -> bool:
        """Whether a method has answered as asked, as far as that is known."""
        return self.verdict(method) in ("right", "unchecked")

    def certifies(self, method: str) -> bool:
        """Whether a method has answered with a bound within the tolerance."""
        return self.counts(method) and all(
            bound is not None and bound <= TOLERANCE * scale
            for bound, scale in zip(self.records[method]["bounds"], self.scales(), strict=True)
        )

    def seconds(self, method: str, limit: float) -> float:
        """Return a method's seconds, and the limit if it has not answered as asked."""
        return float(self.records[method]["seconds"]) if self.counts(method) else limit

    def best(self) -> tuple[str, float] | None:
        """Return the quickest method that certifies its answer, and its seconds."""
        found = [(self.records[m]["seconds"], m) for m in SINGLE if self.certifies(m)]
        return (min(found)[1], min(found)[0]) if found else None

    def near_best(self) -> bool:
        """Whether hpcq's choice certifies its answer and takes little longer than the best."""
        best = self.best()
        if not self.certifies("auto") or best is None:
            return self.certifies("auto")
        return bool(
            self.records["auto"]["seconds"] <= max(FACTOR * best[1], best[1] + SPARE_SECONDS)
        )

    def cell(self, method: str) -> str:
        """Return the seconds, or the verdict where it is a bad one."""
        verdict = self.verdict(method)
        mark = {"right": "", "unchecked": "?", "loose": "~"}.get(verdict)
        return verdict if mark is None else f"{self.records[method]['seconds']:.3f}{mark}"


def _agreed(values: Sequence[float], scale: float) -> float | None:
    for index, value in enumerate(values):
        if any(abs(value - other) <= TOLERANCE * scale for other in values[index + 1 :]):
            return value
    return None


def _verdict(value: float, bound: float | None, reference: float | None, scale: float) -> str:
    off = None if reference is None else abs(value - reference)
    if bound is not None and off is not None and not off <= bound + ROUNDING * scale:
        return "over"
    if bound is not None and bound > TOLERANCE * scale:
        return "loose"
    if off is None:
        return "unchecked"
    return "right" if off <= (TOLERANCE + ROUNDING) * scale else "wrong"


def line(case: Case, methods: Iterable[str]) -> str:
    """Return one line on a circuit."""
    chosen = case.records.get("auto", {}).get("method", "")
    cells = "".join(f"{case.cell(method):>12}" for method in methods)
    return f"{case.name:30}{cells}  {chosen}"


def head(methods: Iterable[str]) -> str:
    """Return the line above the others."""
    return f"{'':30}" + "".join(f"{method:>12}" for method in methods)


def summary(cases: Sequence[Case], methods: Sequence[str], limit: float) -> str:
    """Return counts, totals in CPU seconds, and the circuits on which hpcq chose badly."""
    lines = [
        f"\n{len(cases)} circuits; {limit:g} s of CPU time each, which is what a method counts"
    ]
    lines += ["that has no answer within tolerance; ? = nothing to compare with, ~ = loose bound\n"]
    for method in methods:
        verdicts = [case.verdict(method) for case in cases]
        counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
        total = sum(case.seconds(method, limit) for case in cases)
        lines.append(
            f"{method:12} {total:8.1f} s   " + ", ".join(f"{n} {v}" for v, n in counts.items())
        )
    best = [case.best() for case in cases]
    total = sum(limit if found is None else found[1] for found in best)
    lines.append(
        f"{'best of each':12} {total:8.1f} s   {best.count(None)} without certified answer"
    )
    if "auto" not in methods:
        return "\n".join(lines)
    missed = [case for case in cases if not case.near_best()]
    lines.append(
        f"\nauto is within {FACTOR:g} times or {SPARE_SECONDS:g} s of the best certified answer on "
        f"{len(cases) - len(missed)} of {len(cases)}; the others:"
    )
    for case in missed:
        found = case.best()
        text = "none" if found is None else f"{found[0]} {found[1]:.3f} s"
        reason = case.records.get("auto", {}).get("reason", "")
        lines.append(f"  {case.name:30} {case.cell('auto'):>10}  best: {text}  {reason}".rstrip())
    return "\n".join(lines)
