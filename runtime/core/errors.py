"""Errors a user can cause or fix. Each message names the file and the fix; commands print it without a traceback."""

from __future__ import annotations

from typing import Literal

ErrorKind = Literal["missing", "unreadable", "unsupported", "damaged", "too_large", "engine"]
"""Why an input has no score: there is no such file; it cannot be opened or fetched; it is of no kind that is decoded
here; its content is broken; it exceeds a limit; the engine gave no finite score."""


class ExitCode:
    """Exit codes shared by all commands."""

    OK = 0
    SOME_INPUTS_FAILED = 1
    USAGE = 2
    ENGINE_OR_ENVIRONMENT = 3
    AI_FOUND = 4


class CinemaeError(Exception):
    """Base of every error that is the user's to fix.

    Attributes:
        exit_code: the process exit code a command ends with when the error reaches it.
    """

    exit_code: int = ExitCode.ENGINE_OR_ENVIRONMENT


class UsageError(CinemaeError):
    """Arguments of a command or a call that are wrong or contradict each other."""

    exit_code = ExitCode.USAGE


class ImageError(CinemaeError):
    """One image cannot be read; a folder run records it and goes on.

    Attributes:
        kind: why.
    """

    exit_code = ExitCode.SOME_INPUTS_FAILED

    def __init__(self, message: str, kind: ErrorKind = "damaged") -> None:
        super().__init__(message)
        self.kind = kind


class EngineError(CinemaeError):
    """An engine file is missing, damaged, not one of ours, or does not fit this machine."""


class ManifestError(EngineError):
    """A manifest is missing, of another schema version, or inconsistent."""


class MissingDependencyError(CinemaeError):
    """A package, device or driver is not usable on this machine; the message says how to get it."""


class WeightsError(CinemaeError):
    """A weights file does not fit its use (no decoder, unmatched keys, wrong target space ...)."""


class ParityError(CinemaeError):
    """An exported graph does not agree with its reference within the named tolerance."""


class OutputError(CinemaeError):
    """A result cannot be written: disk full, no permission."""
