"""A command that takes options dataclasses: each of their fields becomes an option of the command line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from ..core.option import Option, attribute_help


def expanded(command: Callable[..., None], environment: str = "") -> Callable[..., None]:
    """`command` for typer: a parameter whose type is a dataclass is replaced by an option for each of its fields.

    The dataclass is made from the options' values, and checks them. Fields that are dataclasses are expanded as well.
    Where `environment` is given, a variable that begins with it stands for an option: CINEMAE_PORT for --port.
    """
    parameters = inspect.signature(command, eval_str=True).parameters
    groups = {name: one.annotation for name, one in parameters.items() if is_dataclass(one.annotation)}
    flat: list[inspect.Parameter] = []
    for name, one in parameters.items():
        own = one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        flat.extend(_options(groups[name], environment) if name in groups else [own])

    @functools.wraps(command)
    def call(**given: Any) -> None:
        command(**{name: _made(groups[name], given) if name in groups else given[name] for name in parameters})

    call.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return call


def _made(group: Any, given: dict[str, Any]) -> Any:
    """The dataclass, of those values of the command line that are its fields."""
    values = {}
    for field, kind, _ in _fields(group):
        if is_dataclass(kind):
            values[field.name] = _made(kind, given)
        elif (value := given.get(field.name)) is not None:  # None: not given, the field has a default
            values[field.name] = tuple(value) if isinstance(value, list) else value
    return group(**values)


def _fields(group: Any) -> Iterator[tuple[Field[Any], Any, Option]]:
    """Field, type and option."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        kind, option = hints[field.name], Option()
        if get_origin(kind) is Annotated:
            kind, *notes = get_args(kind)
            option = next((note for note in notes if isinstance(note, Option)), option)
        if field.init and not option.hidden:
            yield field, kind, option


def _options(group: Any, environment: str) -> Iterator[inspect.Parameter]:
    texts = attribute_help(group)
    for field, kind, option in _fields(group):
        if is_dataclass(kind):
            yield from _options(kind, environment)
            continue
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        metavar = option.metavar or (field.name.upper() if option.argument else None)
        names = option.names or (f"--{field.name.strip('_').replace('_', '-')}",)
        shown: dict[str, Any] = {
            "help": texts.get(field.name, ""), "metavar": metavar, "parser": option.parser,
            "min": option.minimum, "max": option.maximum,
            "show_default": default is not MISSING,
        }
        if environment:
            shown["envvar"] = environment + names[0].lstrip("-").replace("-", "_").upper()
        declared = typer.Argument(**shown) if option.argument else typer.Option(*names, **shown)
        if str(kind).startswith("tuple["):
            kind = list[get_args(kind)[0]] | None  # type: ignore[misc]
            default = list(default) or None if isinstance(default, tuple) else default
        elif len(set(get_args(kind)) - {type(None)}) > 1:  # int | str: the dataclass reads the text
            kind, default = str, None if default is None else str(default)
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, declared],
            default=inspect.Parameter.empty if default is MISSING else default,
        )
