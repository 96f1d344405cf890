"""The JSON sidecar of a TensorRT plan, and the check whether the plan runs on this machine. Needs no TensorRT."""

from __future__ import annotations

import hmac
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, field_validator

from ...core.environment import this_platform
from ...core.errors import EngineError
from ...core.files import file_sha256
from ...core.manifest import Manifest, Model
from ...core.text import shown
from ..cuda.driver import CudaDevice
from ..file.header import read_manifest
from ..file.integrity import is_plain_name
from .library import HardwareCompatibility

SIDECAR_SUFFIX = ".json"
MAX_SIDECAR_BYTES = 1 << 20
"""A sidecar has a few kilobytes; a larger one is not read into memory."""

NEXT_MAJOR = {8: 10, 10: 11}
"""Major versions of TensorRT -> the one after it that runs their version-compatible plans."""

MAX_BATCH = 65_536
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[str, Field(pattern=r"^[0-9]{1,9}\.[0-9]{1,9}(\.[0-9]{1,9}){0,3}$")]


def _plain_name(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError("not a plain file name")
    return name


FileName = Annotated[str, AfterValidator(_plain_name)]


class PlanSidecar(Model):
    """Content of `NAME.plan.json`, which describes `NAME.plan`.

    Attributes:
        manifest: the manifest of the ONNX engine that the plan was built from.
        tensorrt: the version of TensorRT that built the plan.
        gpu: the name of the GPU it was built on.
        compute_capability: of that GPU, for example "8.9".
        platform: the system and machine it was built on, for example "linux x86_64".
        version_compatible: whether later versions of TensorRT can load the plan.
        hardware_compatibility: which other GPUs the plan was built for.
        batch: smallest, optimal and largest batch of the optimisation profile.
        plan_sha256: hash of the plan file.
        source: file name of the ONNX engine.
        source_sha256: hash of the ONNX engine.
        source_external: file name -> hash of the ONNX engine's external weights.
    """

    manifest: Manifest
    tensorrt: Version
    gpu: str
    compute_capability: Annotated[str, Field(pattern=r"^[0-9]{1,3}\.[0-9]{1,3}$")]
    platform: Annotated[str, Field(pattern=r"^[a-z0-9]{1,20} \w{1,20}( tegra)?$")]
    version_compatible: bool = False
    hardware_compatibility: HardwareCompatibility = "none"
    batch: tuple[int, int, int]
    plan_sha256: Sha256
    source: FileName
    source_sha256: Sha256
    source_external: dict[FileName, Sha256] = Field(default_factory=dict)

    @field_validator("batch")
    @classmethod
    def _ordered(cls, batch: tuple[int, int, int]) -> tuple[int, int, int]:
        if not 1 <= batch[0] <= batch[1] <= batch[2] <= MAX_BATCH:
            raise ValueError(f"1 <= smallest <= optimal <= largest <= {MAX_BATCH} does not hold")
        return batch


def sidecar_path(plan: str | Path) -> Path:
    """Path of the sidecar: `NAME.plan.json` for `NAME.plan`."""
    plan = Path(plan)
    return plan.with_name(plan.name + SIDECAR_SUFFIX)


def rebuild_command(plan: Path, sidecar: PlanSidecar) -> str:
    """The command that makes the plan again, for this machine, from its ONNX engine."""
    return plan_command(plan.with_name(sidecar.source), plan)


def plan_command(source: Path, plan: Path) -> str:
    """The command that builds `plan` from the ONNX engine `source`."""
    return f"cinemae-export {source} --tensorrt --out {plan.parent} --name {plan.stem}"


def read_sidecar(plan: str | Path) -> PlanSidecar:
    """Read and validate the sidecar of a plan.

    Raises:
        EngineError: the sidecar is missing or invalid.
    """
    path = sidecar_path(plan)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SIDECAR_BYTES + 1)
    except OSError:
        raise EngineError(
            f"{plan}: {path.name} is missing beside it; a plan cannot be used without: build it again with "
            "cinemae-export ENGINE.onnx --tensorrt"
        ) from None
    if len(text) > MAX_SIDECAR_BYTES:
        raise EngineError(f"{path}: is too large for a sidecar; build the plan again")
    try:
        return PlanSidecar.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise EngineError(f"{path}: not valid ({shown(where)}: {shown(first['msg'])}); build the plan again") from None


def check_plan(plan: Path, sidecar: PlanSidecar) -> None:
    """Compare a plan with the hash in its sidecar. This proves integrity, not who made the plan.

    Raises:
        EngineError: the plan is damaged, or the two files do not belong together.
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


def check_machine(plan: Path, sidecar: PlanSidecar, tensorrt: str, gpu: CudaDevice) -> tuple[str, ...]:
    """Check that a plan can run on a machine.

    TensorRT must have the same version, as far as both state it; a version-compatible plan also runs on later versions
    of its major and of `NEXT_MAJOR` (support matrix of TensorRT 11.4.1). The platform must be the same. The GPU must
    have the same compute capability; an ampere_plus plan runs on 8.0 and above.

    Args:
        plan: the plan file, for messages.
        sidecar: of the plan.
        tensorrt: the installed version of TensorRT.
        gpu: where the plan is to run.

    Returns:
        Warnings: another GPU of the same capability works, but the kernels were tuned on the first.

    Raises:
        EngineError: the plan cannot run; names the command that rebuilds it.
    """
    fix = f"build it for this machine with: {rebuild_command(plan, sidecar)}"
    built, here = numbers(sidecar.tensorrt), numbers(tensorrt)
    same = all(number == other for number, other in zip(built, here, strict=False))
    later = sidecar.version_compatible and here >= built and here[0] in (built[0], NEXT_MAJOR.get(built[0]))
    if not same and not later:
        raise EngineError(f"{plan}: built by TensorRT {sidecar.tensorrt}, here is {tensorrt}; {fix}")
    if sidecar.platform != this_platform():
        raise EngineError(f"{plan}: built on {sidecar.platform}, here is {this_platform()}; {fix}")
    built_for, capability = numbers(sidecar.compute_capability), numbers(gpu.capability)
    if built_for != capability:
        if sidecar.hardware_compatibility != "ampere_plus" or capability < (8, 0):
            raise EngineError(
                f"{plan}: built for compute capability {sidecar.compute_capability} ({sidecar.gpu}), "
                f"this GPU ({gpu.name}) has {gpu.capability}; {fix}"
            )
        return (f"the plan was built on {sidecar.gpu}; on {gpu.name} a plan built here would be faster",)
    if sidecar.gpu != gpu.name:
        return (f"the plan was built on {sidecar.gpu}, this is {gpu.name} of the same compute capability",)
    return ()
