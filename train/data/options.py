"""Which labelled data is read, and what its names mean: the options of every command that takes DATA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ...runtime.core.errors import UsageError
from ...runtime.core.option import Option
from .classes import Classes
from .layouts import LAYOUT_NAMES

COLUMN_KINDS = ("image", "label", "generator", "split")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Labelled data.

    Attributes:
        data: labelled data: a folder, a CSV or JSONL list, Parquet, Arrow or tar files, or
            `hf://datasets/ORG/NAME[@REVISION][/CONFIGURATION][/SPLIT]`.
        layout: layout of folders; auto finds out by itself.
        real: a folder, label value or column that holds real images; repeatable, * and ? match; '*': every other.
        ai: a folder, label value or column that holds AI images; repeatable, * and ? match; '*': every other.
        columns: what the columns of tables and lists hold: image=...,label=...,generator=...,split=...
        test_share: share of a set without a test split that becomes one, chosen by the images' bytes.

    Raises:
        UsageError: a value is not allowed.
    """

    data: Annotated[tuple[str, ...], Option(argument=True, metavar="DATA")]
    layout: Annotated[str, Option(metavar=f"[{'|'.join(LAYOUT_NAMES)}]")] = "auto"
    real: Annotated[tuple[str, ...], Option(metavar="NAME")] = ()
    ai: Annotated[tuple[str, ...], Option(metavar="NAME")] = ()
    columns: Annotated[str | None, Option(metavar="KIND=COLUMN,...")] = None
    test_share: Annotated[float, Option(metavar="SHARE")] = 0.0

    def __post_init__(self) -> None:
        if self.layout not in LAYOUT_NAMES:
            raise UsageError(f"unknown layout {self.layout!r}; there are: {', '.join(LAYOUT_NAMES)}")
        if not 0 <= self.test_share < 1:
            raise UsageError(f"--test-share must be at least 0 and below 1, got {self.test_share}")
        self.classes.check()
        self.named_columns  # noqa: B018  # checks them

    @property
    def classes(self) -> Classes:
        """What names say about the class."""
        return Classes(self.real, self.ai)

    @property
    def arguments(self) -> list[str]:
        """DATA and the options that say what its names mean, as a command takes them."""
        named = [f"--{kind}={name}" for kind in ("real", "ai") for name in getattr(self, kind)]
        named += [f"--columns={self.columns}"] if self.columns else []
        named += [f"--test-share={self.test_share}"] if self.test_share else []
        return [*self.data, *named, *([f"--layout={self.layout}"] if self.layout != "auto" else [])]

    @property
    def named_columns(self) -> dict[str, str]:
        """Column by what it holds, one of `COLUMN_KINDS`; only those that the user named.

        Raises:
            UsageError: not KIND=COLUMN,..., or an unknown kind.
        """
        pairs = [pair.partition("=") for pair in (self.columns or "").split(",") if pair]
        if wrong := [kind for kind, _, name in pairs if kind not in COLUMN_KINDS or not name]:
            raise UsageError(f"--columns {self.columns}: {wrong[0]!r} is none of {', '.join(COLUMN_KINDS)}=COLUMN")
        return {kind: name for kind, _, name in pairs}


@dataclass(frozen=True, kw_only=True)
class Subset(Data):
    """A part of labelled data.

    Attributes:
        split: only this split. Default: all, for `eval` all but train.
        generator: only this generator; repeat for several.
    """

    split: str | None = None
    generator: Annotated[tuple[str, ...], Option(names=("--generator", "-g"))] = ()

    @property
    def arguments(self) -> list[str]:
        """As `Data.arguments`, with the part."""
        split = [f"--split={self.split}"] if self.split else []
        return [*super().arguments, *split, *(f"--generator={name}" for name in self.generator)]
