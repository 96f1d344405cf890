"""The recipe of a pretraining. No torch: commands make options of its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ...runtime.core.errors import UsageError
from ...runtime.core.option import Option

PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Recipe of a pretraining.

    The learning rate warms up, then follows half a cosine to zero over the epochs or the minutes, whichever end comes
    first, so that a run bounded in time is annealed too.

    Attributes:
        epochs: passes over the photographs.
        max_minutes: stop after this many minutes, with the learning rate annealed to its end.
        batch_size: images of one step.
        micro_batch: images computed at once within a step; small activations stay in a processor's cache.
        lr: peak learning rate.
        precision: to train in; auto: bf16 where the device has matrix units for it.
        half: round the saved weights to float16.
        workers: processes that read images; 0 reads in the main process.
        seed: seed of order, crops and masks.
        warmup: share of the run during which the rate rises.
        weight_decay: of AdamW.
        crop_scale: smallest share of a photograph's area that a crop covers.
        save_minutes: time between two saved states.

    Raises:
        UsageError: an unknown precision.
    """

    epochs: Annotated[int, Option(minimum=1)] = 100
    max_minutes: Annotated[float | None, Option(minimum=0)] = None
    batch_size: Annotated[int, Option(minimum=1)] = 128
    micro_batch: Annotated[int, Option(minimum=1)] = 32
    lr: Annotated[float, Option(minimum=0)] = 1.2e-3
    precision: Annotated[str, Option(metavar=f"[{'|'.join(PRECISIONS)}]")] = "auto"
    half: bool = False
    workers: Annotated[int, Option(minimum=0)] = 1
    seed: Annotated[int, Option(minimum=0)] = 0
    warmup: Annotated[float, Option(hidden=True)] = 0.05
    weight_decay: Annotated[float, Option(hidden=True)] = 0.05
    crop_scale: Annotated[float, Option(hidden=True)] = 0.2
    save_minutes: Annotated[float, Option(hidden=True)] = 5.0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(f"--precision {self.precision!r}: use {', '.join(PRECISIONS)}")
