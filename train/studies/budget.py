"""How much the studies read and train. Nothing heavy is imported: commands make options of the fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ...runtime.core.option import Option


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Images of the studies that train or run the network.

    Attributes:
        limit: test images of each class and generator in studies that run the network; 0: all.
        train_limit: training images of each class and generator in those studies; 0: all.
    """

    limit: Annotated[int, Option(minimum=0)] = 0
    train_limit: Annotated[int, Option(minimum=0)] = 0

    def bounds(self) -> str:
        """Both limits of images in words, for the note of a table; "" without limits."""
        parts = [(self.train_limit, "trained"), (self.limit, "tested")]
        said = [f"at most {limit:,} images of a class and generator {what} on" for limit, what in parts if limit]
        return f"{' and '.join(said).capitalize()}." if said else ""


@dataclass(frozen=True, kw_only=True)
class ComparedBudget(Limits):
    """Budget of the studies that may compare another global feature.

    Attributes:
        global_encoder: another frozen encoder for f_global, in controls and fusion: NAME of timm, or
            NAME:FILE.safetensors.
    """

    global_encoder: Annotated[str | None, Option(metavar="NAME[:FILE]")] = None


@dataclass(frozen=True, kw_only=True)
class AblationBudget(ComparedBudget):
    """Budget of the ablations.

    Attributes:
        freezing_epochs: epochs of the freezing ablation. Default: those of the heads.
        freezing_backbone: another backbone for the freezing ablation [Fig. 10]; repeatable.
        other_backbone: another backbone to compare [Table 5b]; repeatable.
    """

    freezing_epochs: Annotated[int | None, Option(minimum=1)] = None
    freezing_backbone: tuple[str, ...] = ()
    other_backbone: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AnalysisBudget(Limits):
    """Budget of the analyses.

    Attributes:
        curve_steps: steps of decoder training [Fig. 2].
        fresh_decoder: decoder with which the curve of Fig. 2 starts.
    """

    curve_steps: Annotated[int, Option(minimum=1)] = 1000
    fresh_decoder: Annotated[bool, Option(names=("--fresh-decoder/--pretrained-decoder",))] = True


@dataclass(frozen=True, kw_only=True)
class Budget(AblationBudget, AnalysisBudget):
    """Budget of all studies.

    Attributes:
        audit_limit: files of each class, generator and split that the audit reads; 0: all.
    """

    audit_limit: Annotated[int, Option(minimum=0)] = 500
