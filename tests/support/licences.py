"""What licences a distribution is under, as far as its metadata and its files tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, requires

from packaging.requirements import Requirement

EXTRAS = ("cpu", "mpich", "openmpi", "draw", "runtime", "algorithms")
"""The extras that users install; ``test`` and ``dev`` are not shipped to anyone."""

GPL = re.compile(
    r"(?<![a-z])a?gpl|gnu\s+(affero\s+)?general\s+public|affero\s+general\s+public", re.IGNORECASE
)
"""The GPL or AGPL, by any of their names; not the LGPL, which is the "lesser" one."""

GCC_EXCEPTION = re.compile(r"GCC runtime library exception|GCC-exception", re.IGNORECASE)

GPL_TEXTS = {
    "matplotlib": "FreeType may be used under the FreeType licence instead",
    "mpich": "libfabric may be used under the BSD licence instead",
    "orjson": "the MPL names the GPL among its secondary licences, which are not used",
    "pillow": "FreeType as above; of xz only scripts, which are not in the wheel, are GPL",
    "typing-extensions": "the PSF licence tells which versions of Python were compatible with it",
}
"""Whose licence files speak of the GPL without the exception for GCC's libraries, and why that is
fine."""

UNKNOWN: dict[str, str] = {}
"""Distributions that say nothing of a licence, and how it is known all the same."""

LIBRARIES = re.compile(
    r"lib(Xau|aec|avif|brotli(common|dec)|freetype|gfortran|gomp|harfbuzz|hdf5(_hl)?|jpeg|lcms2"
    r"|lzma|openblas|openjp2|png16|quadmath|scipy_openblas(64_)?|sharpyuv|sz|tiff|webp(demux|mux)?"
    r"|xcb|z|zstd)[-.]"
)
"""Libraries in the wheels' ``*.libs`` folders whose licences THIRD-PARTY.md tells."""


def canonical(name: str) -> str:
    """Return a distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct(extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield what hpcq requires itself, with some of its extras."""
    for text in requires("hpcq") or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def required(extras: Iterable[str]) -> dict[str, Distribution | None]:
    """Return all that hpcq requires, directly or not; None for what is not installed."""
    found: dict[str, Distribution | None] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = list(direct(extras))
    while todo:
        wanted = todo.pop()
        name, extras_wanted = canonical(wanted.name), frozenset(wanted.extras)
        if (name, extras_wanted) in seen:
            continue
        seen.add((name, extras_wanted))
        try:
            found[name] = dist = distribution(wanted.name)
        except PackageNotFoundError:
            found[name] = None
            continue
        for text in dist.requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(
                marker.evaluate({"extra": extra}) for extra in ("", *extras_wanted)
            ):
                todo.append(requirement)
    return found


def fault(dist: Distribution) -> str | None:
    """Say what is wrong with the licence of a distribution; None if nothing is."""
    metadata = dist.metadata
    name = canonical(metadata["Name"])
    expression = metadata.get("License-Expression") or ""
    classifiers = [c for c in metadata.get_all("Classifier") or () if c.startswith("License ::")]
    declared = [expression, *classifiers, _first_line(metadata.get("License") or "")]
    for text in declared:
        if GPL.search(text) and not (text is expression and _has_other_choice(text)):
            return f"is under {text!r}"
    texts = list(licence_texts(dist))
    for file, text in texts:
        speaks = GPL.search(_without_lesser(text)) and not GCC_EXCEPTION.search(text)
        if speaks and name not in GPL_TEXTS:
            return f"has the GPL in {file}"
    if not any(declared) and not texts and name not in UNKNOWN:
        return "says nothing of its licence"
    for file in dist.files or ():
        bundled = ".so" in file.name and any(part.endswith(".libs") for part in file.parts)
        if bundled and not LIBRARIES.match(file.name):
            return f"bundles {file.name}, whose licence nobody has looked up"
    return None


def licence_texts(dist: Distribution) -> Iterator[tuple[str, str]]:
    """Yield the names and the texts of a distribution's licence files."""
    for file in dist.files or ():
        named = re.search(r"licen[cs]e|copying|notice", file.name, re.IGNORECASE)
        path = file.locate()
        if named and file.suffix not in (".py", ".pyc") and path.is_file():
            yield str(file), path.read_text(encoding="utf-8", errors="replace")


def _first_line(text: str) -> str:
    """Return the name of a licence, where some write the whole text."""
    return text.strip().partition("\n")[0]


def _has_other_choice(expression: str) -> bool:
    """Tell whether an SPDX expression leaves a way around the GPL, by choice or exception."""
    factors = re.split(r"\s+AND\s+", expression.replace("(", " ").replace(")", " "))
    return all(
        any(not GPL.search(choice) or "GCC-exception" in choice for choice in factor.split(" OR "))
        for factor in factors
    )


def _without_lesser(text: str) -> str:
    """Drop the LGPL's own text, which speaks of the ordinary GPL throughout."""
    head = text.lstrip()[:200].lower()
    return "" if "lesser general public license" in head else text
