"""Where an engine may run: the names that commands and `load_engine` take."""

from __future__ import annotations

from typing import Literal, get_args

Device = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
DEVICES: tuple[str, ...] = get_args(Device)
