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


@dataclass(frozen=True)
class Option:
    """What a command line needs to know of a field beyond its type, default and documentation.

    Attributes:
        metavar: what the help shows for the value.
        parser: makes the value from the text.
        names: names of the option, in place of `--field-name`.
        envvar: environment variable that gives the value.
        minimum: smallest number.
        maximum: largest number.
        argument: an argument, not an option.
        hidden: no option at all: the command sets the field itself.
    """

    metavar: str | None = None
    parser: Callable[[str], Any] | None = None
    names: tuple[str, ...] = ()
    envvar: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    argument: bool = False
    hidden: bool = False


def attribute_help(owner: type) -> dict[str, str]:
    """The texts under `Attributes:` in the docstring of `owner`, by attribute; the first letter is a capital."""
    _, _, section = inspect.cleandoc(owner.__doc__ or "").partition("\nAttributes:\n")
    section = re.split(r"\n(?=\S)", section)[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join((text[:1].upper() + text[1:]).split()) for name, text in found}
