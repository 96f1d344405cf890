"""A command in this process."""

from __future__ import annotations

import pytest
from cinemae.runtime.cli.common import run_command


def outcome(capsys, app, *arguments) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as ended:
        run_command(app, list(map(str, arguments)))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return ended.value.code or 0, out, err
