"""Names of generators: data sets spell a generator differently, so names are compared in a canonical form."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

ALIASES = {
    "mj": "midjourney", "wfir": "whichfaceisreal", "sitd": "seeingdark",
    "sdv4": "stablediffusionv14", "sdv5": "stablediffusionv15",
}
"""Short names in papers and in GenImage's archives."""
UNVERSIONED = frozenset({"midjourney"})
"""Canonical names of several versions: two data sets with this name need not be of one generator."""


@cache
def canonical(name: str) -> str:
    """The form in which names are compared.

    Case, spaces and punctuation do not count, "SD" stands for Stable Diffusion, and its version may or may not have a
    "v": ProGAN is progan, and stable_diffusion_v_1_4, Stable-Diffusion 1.4 and SDv1.4 are one generator.
    """
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    letters = ALIASES.get(letters, letters)
    return re.sub(r"^(stablediffusion|sd)v?(?=\d)", "stablediffusionv", letters) or name


def in_both(theirs: Iterable[str], there: Iterable[str]) -> set[str]:
    """The generators of two data sets, in the form of `canonical`.

    A name without a version counts only where `there` has all of `theirs`: it then is the same data set.
    """
    wanted, have = (set(map(canonical, names)) for names in (theirs, there))
    return wanted & have - (frozenset() if wanted <= have else UNVERSIONED)


def same_generators(names: Iterable[str], there: Iterable[str]) -> tuple[list[str], list[str]]:
    """Find generators by name.

    Args:
        names: the names asked for, in any spelling.
        there: the names of the data.

    Returns:
        The spellings of the data that match, sorted, and the names asked for that nothing matches.
    """
    names, there = list(names), sorted(set(there))
    wanted = {canonical(name) for name in names}
    have = {canonical(name) for name in there}
    return [name for name in there if canonical(name) in wanted], [
        name for name in names if canonical(name) not in have
    ]
