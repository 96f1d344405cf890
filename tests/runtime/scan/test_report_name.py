"""A report is a page: its name says so."""

from pathlib import Path

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.scan.targets import Targets


@pytest.mark.parametrize("name", ["r.pdf", "r.xlsx"])
def test_a_report_of_another_kind_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"ends in \.html"):
        Targets(report=tmp_path / name).check([])
    assert not Path(tmp_path / name).exists()
