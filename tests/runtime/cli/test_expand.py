"""Options of a command line that are declared as fields of a dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from cinemae.runtime.cli.expand import expanded
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.option import Option
from typer.testing import CliRunner


@dataclass(frozen=True, kw_only=True)
class Inner:
    """How to score.

    Attributes:
        frames: frames that
            are scored.
        names: names.
        tiles: cut into tiles.

    Raises:
        UsageError: other: text that is no attribute.
    """

    frames: Annotated[str, Option(metavar="[first|all|N]")] = "4"
    names: tuple[str, ...] = ()
    tiles: bool = False

    def __post_init__(self) -> None:
        if self.frames == "0":
            raise UsageError("no frames")


@dataclass(frozen=True, kw_only=True)
class Outer:
    """What to score.

    Attributes:
        inputs: the inputs.
        inner: not shown.
        secret: not shown.
    """

    inputs: Annotated[tuple[str, ...], Option(argument=True)]
    inner: Inner
    secret: Annotated[int, Option(hidden=True)] = 7


seen: list[tuple[Outer, bool]] = []
app = typer.Typer(rich_markup_mode=None)


@app.command()
@expanded
def run(options: Outer, quiet: Annotated[bool, typer.Option("--quiet")] = False) -> None:
    """Run."""
    seen.append((options, quiet))


def test_values_reach_nested_dataclasses() -> None:
    CliRunner().invoke(app, ["a", "b", "--names", "x", "--names", "y", "--tiles", "--quiet"], catch_exceptions=False)
    assert seen.pop() == (Outer(inputs=("a", "b"), inner=Inner(names=("x", "y"), tiles=True)), True)


def test_what_is_not_given_keeps_its_default() -> None:
    CliRunner().invoke(app, ["a"], catch_exceptions=False)
    assert seen.pop() == (Outer(inputs=("a",), inner=Inner()), False)


def test_the_class_checks_its_values() -> None:
    with pytest.raises(UsageError):
        CliRunner().invoke(app, ["a", "--frames", "0"], catch_exceptions=False)


def test_help_is_the_documentation_of_the_fields() -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    assert "[first|all|N]" in text
    assert "Frames that are scored." in text
    assert "secret" not in text
    assert "no attribute" not in text
