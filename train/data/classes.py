"""Which class a name stands for: one table for folders, labels of lists and tables, and members of archives."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ...runtime.core.errors import UsageError

REAL, AI = 0, 1
NAMES = {
    **dict.fromkeys(("real", "reals", "nature", "0_real", "real_images", "authentic", "genuine"), REAL),
    **dict.fromkeys(("ai", "fake", "fakes", "1_fake", "fake_images", "ai_images"), AI),
    **dict.fromkeys(("generated", "ai_generated", "synthetic", "aigc"), AI),
}
"""Names of classes, in the form of `plain`. Numbers are none: 1 is AI in some data sets and real in others."""
OTHERS = "*"
SHOWN = 8
_NUMBER = re.compile(r"-?\d+(\.0*)?|true|false")


def plain(name: str) -> str:
    """The form in which names of classes compare: lower case, with underscores for spaces and hyphens."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def is_number(value: str) -> bool:
    """Whether a label is a number, true or false, which say nothing about the class."""
    return _NUMBER.fullmatch(plain(value)) is not None


@dataclass(frozen=True)
class Classes:
    """What names mean.

    Attributes:
        real: names of real images beside those of `NAMES`; `*` alone stands for every other name.
        ai: the same of AI images.
    """

    real: tuple[str, ...] = ()
    ai: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError if a name is given for both classes."""
        if both := {plain(name) for name in self.real} & {plain(name) for name in self.ai}:
            raise UsageError(f"--real and --ai both name {', '.join(sorted(both))}; a name stands for one class")

    @property
    def others(self) -> int | None:
        """Class of every other name; None where `*` is not given."""
        return REAL if OTHERS in self.real else AI if OTHERS in self.ai else None

    def named(self, name: str) -> int | None:
        """Class of a name that an option gives, `*` apart; None for others."""
        wanted = plain(name)
        given = [(plain(one), label) for label, names in ((REAL, self.real), (AI, self.ai)) for one in names]
        exact = [label for one, label in given if one == wanted]
        matching = [label for one, label in given if one != OTHERS and fnmatchcase(wanted, one)]
        return next(iter(exact + matching), None)

    def label(self, name: str) -> int | None:
        """Class of a name by the options and `NAMES`; None for a name that neither knows, `*` apart."""
        given = self.named(name)
        return NAMES.get(plain(name)) if given is None else given

    def settle(self, values: Collection[str], where: str) -> dict[str, int]:
        """The class of each label of a data set.

        Of two numbers the user names one; the other is the other class.

        Raises:
            UsageError: a label is a number or an unknown name; the message has the values and the option.
        """
        labels = {value: self.label(value) for value in values}
        unknown = sorted(value for value, label in labels.items() if label is None)
        if unknown and (rest := self.others) is not None:
            labels |= dict.fromkeys(unknown, rest)
        elif unknown:
            sides = {self.named(value) for value in (*self.real, *self.ai) if is_number(value)}
            if len(unknown) > 1 or not is_number(unknown[0]) or len(sides) != 1:
                raise UsageError(f"{where}: {unknown_labels(unknown, values)}")
            labels[unknown[0]] = REAL if sides == {AI} else AI
        return {value: label for value, label in labels.items() if label is not None}


def unknown_labels(unknown: Collection[str], values: Iterable[str]) -> str:
    """What to do about labels whose class is unknown."""
    seen = sorted(values)
    shown = ", ".join(seen[:SHOWN]) + (f" and {len(seen) - SHOWN:,} more" if len(seen) > SHOWN else "")
    first = sorted(unknown)[-1]
    if all(map(is_number, unknown)):
        return (
            f"the labels are {shown}: numbers do not say which class is AI, and data sets differ; name the AI label, "
            f"such as --ai {first}, or the real one, --real {sorted(unknown)[0]}, after looking at the data set's card"
        )
    return (
        f"labels of no known class: {', '.join(repr(value) for value in sorted(unknown)[:SHOWN])} (labels there: "
        f"{shown}); say what each is, --real NAME or --ai NAME; --ai '*': every other label is a generator"
    )
