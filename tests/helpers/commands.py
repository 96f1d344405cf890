"""A command in this process."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from cinemae.runtime.cli.common import run_command


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def outcome(capsys, app, *arguments) -> Outcome:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as ended:
        run_command(app, list(map(str, arguments)))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return Outcome(ended.value.code or 0, out, err)
