"""The options of `cinemae bench`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from ..core.errors import UsageError
from ..core.option import Option
from ..scoring.options import EngineOptions


def numbers(option: str) -> Callable[[Any], tuple[int, ...]]:
    """The parser of an option that takes positive integers with commas between them."""

    def parse(given: Any) -> tuple[int, ...]:
        try:
            found = tuple(int(part) for part in (given.split(",") if isinstance(given, str) else given))
        except ValueError:
            found = (0,)
        if min(found, default=1) < 1:
            raise UsageError(f"{option} takes positive numbers with commas between them, such as 1,8; got {given!r}")
        return found

    return parse


@dataclass(frozen=True, kw_only=True)
class BenchOptions(EngineOptions):
    """The options of `cinemae bench`.

    Attributes:
        inputs: images, folders, globs or @list.txt. Default: rendered JPEGs.
        baseline: another engine, measured in turn with the first; ratios are to the first baseline.
        batch_sizes: images in one inference, with commas between the numbers.
        threads: CPU threads of one inference, with commas between the numbers. Default: the backend chooses.
        workers: decoding threads of the pipeline. Default: one per CPU.
        seconds: measuring time for each figure.

    Raises:
        UsageError: a size or number of workers below 1, or seconds that are not positive and finite.
    """

    inputs: Annotated[tuple[str, ...], Option(argument=True)] = ()
    baseline: Annotated[tuple[str, ...], Option(metavar="PATH")] = ()
    batch_sizes: Annotated[Sequence[int], Option(metavar="N,N", parser=numbers("--batch-sizes"))] = (1, 8)
    threads: Annotated[Sequence[int], Option(metavar="N,N", parser=numbers("--threads"))] = ()
    workers: int | None = None
    seconds: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.batch_sizes, default=0) < 1 or not 0 < self.seconds < math.inf:
            raise UsageError("batch sizes must be at least 1, and --seconds more than 0 and finite")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers must be at least 1, got {self.workers}")
