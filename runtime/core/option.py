"""How a field of an options dataclass appears on a command line; `cli.expand` turns such fields into options.

A field is declared once: its type, its default, its line under `Attributes:` in the docstring of its class (the help),
and, where that is not enough, an `Option` in its annotation. Checks stand in `__post_init__`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import UsageError


@dataclass(frozen=True)
class Option:
    """What a command line needs to know of a field beyond its type, default and documentation.

    Attributes:
        metavar: what the help shows for the value.
        parser: makes the value from the text.
        names: names of the option, in place of `--field-name`.
        minimum: smallest number.
        maximum: largest number.
        argument: an argument, not an option.
        hidden: no option at all: the command sets the field itself.
    """

    metavar: str | None = None
    parser: Callable[[Any], Any] | None = None
    names: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    argument: bool = False
    hidden: bool = False


def share(option: str) -> Callable[[object], float]:
    """The parser of an option that takes a share: a number such as 0.1, 10% or 1/10."""

    def parse(given: object) -> float:
        text = str(given).strip()
        try:
            above, _, below = text.partition("/")
            return float(above[:-1]) / 100 if above.endswith("%") else float(above) / float(below or 1)
        except (ValueError, ZeroDivisionError):
            raise UsageError(f"{option} takes a number between 0 and 1, such as 0.02, not {text!r}") from None

    return parse


def attribute_help(owner: type) -> dict[str, str]:
    """The texts under `Attributes:` in the docstrings of `owner` and its bases; the first letter is a capital."""
    texts: dict[str, str] = {}
    for one in reversed(owner.__mro__):
        _, _, section = inspect.cleandoc(one.__doc__ or "").partition("\nAttributes:\n")
        found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", re.split(r"\n(?=\S)", section)[0], re.MULTILINE)
        texts |= {name: " ".join((text[:1].upper() + text[1:]).split()) for name, text in found}
    return texts
