"""TensorRT plans: the sidecar beside each, and the table of what fits which machine. Needs no TensorRT itself."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from ..errors import EngineError
from ..manifest import Manifest, Model
from .integrity import file_sha256
from .onnx_file import read_manifest

SIDECAR_SUFFIX = ".json"
HardwareCompatibility = Literal["none", "same_compute_capability", "ampere_plus"]
HEX = r"^[0-9a-f]{64}$"
VERSION = r"^\d+\.\d+(\.\d+)*$"


class PlanSidecar(Model):
    """What `NAME.plan.json` says of `NAME.plan`. batch: smallest, best and largest batch of the profile."""

    manifest: Manifest
    tensorrt: str = Field(pattern=VERSION)
    gpu: str
    compute_capability: str = Field(pattern=r"^\d+\.\d+$")
    version_compatible: bool = False
    hardware_compatibility: HardwareCompatibility = "none"
    batch: tuple[int, int, int]
    plan_sha256: str = Field(pattern=HEX)
    source: str
    source_sha256: str = Field(pattern=HEX)
    source_external: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """Where a plan shall run: TensorRT's version, the card's name and compute capability ("8.9")."""

    tensorrt: str
    gpu: str
    compute_capability: str


def sidecar_path(plan: str | Path) -> Path:
    """`NAME.plan` -> `NAME.plan.json`."""
    plan = Path(plan)
    return plan.with_name(plan.name + SIDECAR_SUFFIX)


def rebuild_command(plan: Path, sidecar: PlanSidecar) -> str:
    """The command that makes the plan again, for this machine, from its ONNX engine."""
    return plan_command(plan.with_name(sidecar.source), plan)


def plan_command(source: Path, plan: Path) -> str:
    """The command that builds `plan` from the ONNX engine `source`."""
    return f"cinemae-export {source} --tensorrt --out {plan.parent} --name {plan.stem}"


def read_sidecar(plan: str | Path) -> PlanSidecar:
    """The sidecar of `plan`, validated.

    Raises:
        EngineError: missing or invalid.
    """
    path = sidecar_path(plan)
    try:
        text = path.read_bytes()
    except OSError:
        raise EngineError(
            f"{plan}: {path.name} is missing beside it; a plan cannot be used without: build it again with "
            "cinemae-export ENGINE.onnx --tensorrt"
        ) from None
    try:
        return PlanSidecar.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise EngineError(f"{path}: not valid ({where}: {first['msg']}); build the plan again") from None


def check_plan(plan: Path, sidecar: PlanSidecar) -> None:
    """Compare the plan with the hash in its sidecar. This is integrity, not authenticity: see the README.

    Raises:
        EngineError: damaged, or the two files do not belong together.
    """
    if not hmac.compare_digest(file_sha256(plan), sidecar.plan_sha256):
        raise EngineError(
            f"{plan}: does not match the hash in {sidecar_path(plan).name}; build it again with "
            f"{rebuild_command(plan, sidecar)}"
        )


def check_source(plan: Path, sidecar: PlanSidecar) -> None:
    """Compare the ONNX engine beside the plan, where there is one, with the engine that the plan was built from.

    Raises:
        EngineError: the engine was exported again after the plan was built, so their scores differ.
    """
    source = plan.with_name(sidecar.source)
    if source.is_file() and read_manifest(source).content_sha256 != sidecar.source_sha256:
        raise EngineError(
            f"{plan}: was built from another {source.name} than the one beside it; build it again with "
            f"{rebuild_command(plan, sidecar)}"
        )


def numbers(version: str) -> tuple[int, ...]:
    """"10.3.0.26" and "10.3.0.26.post1" -> (10, 3, 0, 26)."""
    return tuple(int(part) for part in re.split(r"[^0-9.]", version)[0].strip(".").split("."))


def check_machine(plan: Path, sidecar: PlanSidecar, machine: Machine) -> tuple[str, ...]:
    """The compatibility table; returns warnings.

    TensorRT: the same major.minor; a version-compatible plan also runs on later minors of its major.
    GPU: the same compute capability; an ampere_plus plan on any of 8.0 and above. Another card of the same capability
    works and is worth a warning: kernels were chosen for the other one.

    Raises:
        EngineError: it would not run; says the command that rebuilds.
    """
    fix = f"build it for this machine with: {rebuild_command(plan, sidecar)}"
    built, here = numbers(sidecar.tensorrt)[:2], numbers(machine.tensorrt)[:2]
    later_minor = sidecar.version_compatible and built[0] == here[0] and here >= built
    if built != here and not later_minor:
        raise EngineError(f"{plan}: built by TensorRT {sidecar.tensorrt}, here is {machine.tensorrt}; {fix}")
    wanted, found = numbers(sidecar.compute_capability), numbers(machine.compute_capability)
    if wanted != found:
        if sidecar.hardware_compatibility != "ampere_plus" or found < (8, 0):
            raise EngineError(
                f"{plan}: built for compute capability {sidecar.compute_capability} ({sidecar.gpu}), "
                f"this GPU ({machine.gpu}) has {machine.compute_capability}; {fix}"
            )
        return (f"the plan was built on {sidecar.gpu}; on {machine.gpu} a plan built here would be faster",)
    if sidecar.gpu != machine.gpu:
        return (f"the plan was built on {sidecar.gpu}, this is {machine.gpu} of the same compute capability",)
    return ()
