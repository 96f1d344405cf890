"""Options and checks that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ...runtime.core.errors import UsageError, WeightsError
from ...runtime.core.option import Option
from ..compute import PRECISIONS, check_device, named_precision
from ..data.options import Data, Subset

if TYPE_CHECKING:
    from ..data.sample import Sample

__all__ = ["Data", "Subset"]
CACHE = Path("runs/cache")
Augment = Annotated[str, Option(metavar="[none|robust|balanced|delivery]")]


@dataclass(frozen=True, kw_only=True)
class Process:
    """How a command runs.

    Attributes:
        threads: threads of computation; 0: as many as processors are idle at the start.
        quiet: show no progress.
    """

    threads: Annotated[int, Option(minimum=0)] = 0
    quiet: Annotated[bool, Option(names=("--quiet", "-q"))] = False


@dataclass(frozen=True, kw_only=True)
class Machine(Process):
    """Resources of a command that runs the network.

    Attributes:
        workers: threads that decode images.
        device: where the network runs; auto: on a GPU where there is one.
    """

    workers: Annotated[int, Option(minimum=1)] = 2
    device: Annotated[str, Option(metavar="[auto|cpu|cuda]")] = "auto"

    def __post_init__(self) -> None:
        check_device(self.device)


@dataclass(frozen=True, kw_only=True)
class Forward(Machine):
    """Resources of an extraction.

    Attributes:
        batch_size: images in one forward pass.
        precision: arithmetic of the matrix products; auto: fp32 on processors, tf32 on GPUs that have it.
    """

    batch_size: Annotated[int, Option(minimum=1)] = 32
    precision: Annotated[str, Option(metavar=f"[auto|{'|'.join(PRECISIONS)}]")] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        named_precision(self.precision)


def read_data(options: Data) -> list[Sample]:
    """The samples of all DATA arguments, in their order (`data.samples.read_data`)."""
    from ..data.samples import read_data

    return read_data(options)


def checked(model: Any, **fields: Any) -> Any:
    """Make a configuration, a pydantic `model`, from the values of options.

    Raises:
        UsageError: a value is not allowed; the message names each such option.
    """
    from pydantic import ValidationError

    try:
        return model(**fields)
    except ValidationError as error:
        names = (str(e["loc"][0]).strip("_").replace("_", "-") if e["loc"] else "" for e in error.errors())
        problems = (f"--{name}: {e['msg']}" for name, e in zip(names, error.errors(), strict=True))
        raise UsageError("; ".join(problems)) from None


def check_backbone(source: str) -> None:
    """Refuse what cannot be backbone weights, as far as names tell; the hub is not asked.

    Raises:
        UsageError: nothing is there, or another kind of file.
    """
    from ...runtime.engines.wrong_path import ENGINE, WEIGHTS_FILES, is_checkpoint, what_is
    from ..fitting.checkpoint_folder import read_manifest
    from ..weights.locate import locate_here

    path = Path(source)
    if path.is_dir() and is_checkpoint(path) and not (path / WEIGHTS_FILES[0]).is_file():
        own = read_manifest(path).backbone.source
        raise UsageError(f"{source} is a checkpoint, not backbone weights; the weights that it was fitted on are {own}")
    if path.exists() and (found := what_is(path)) and found[0] == ENGINE:
        raise UsageError(f"{source} is an engine, not backbone weights: it goes to {found[1]}")
    try:
        locate_here(source)
    except WeightsError as error:
        raise UsageError(str(error)) from None


def check_folder(option: str, path: Path) -> None:
    """Raise UsageError if the folder of `option` cannot be made, because a file has its name or that of a parent."""
    there = next((parent for parent in (path, *path.parents) if parent.exists()), None)
    if there is not None and not there.is_dir():
        raise UsageError(f"{option} {path}: {there} is a file; name a folder")
