"""Result tables: their checks, their formats, and their lines on a terminal."""

from __future__ import annotations

import json

import pytest
from cinemae.train.reporting.estimate import Estimate
from cinemae.train.reporting.tables import Table


def test_tables_refuse_columns_that_collide():
    with pytest.raises(ValueError, match="must differ"):
        Table("t", "T", ("a", "a"), ((1, 2),))
    with pytest.raises(ValueError, match="fill them"):
        Table("t", "T", ("a", "b"), ((1,),))


def test_table_round_trip_and_formats(tmp_path):
    table = Table("t", "T|x", ("a", "b"), (("x|y", 0.12345), ("z", float("nan"))), "note")
    table.write(tmp_path)
    record = json.loads((tmp_path / "t.json").read_text())
    assert Table.of_record(record).rows == (("x|y", 0.12345), ("z", None))
    assert "| x\\|y | 0.123 |" in table.markdown()
    assert (tmp_path / "t.csv").read_text() == "a,b\nx|y,0.12345\nz,\n"


def test_intervals_are_shown_kept_and_have_columns_of_their_own_in_csv(tmp_path):
    rows = (("x", Estimate(-0.025, -0.0875, 0.025)), ("y", None), ("z", Estimate(0.5)))
    table = Table("t", "T", ("a", "b less c"), rows, signed=("b less c",))
    assert [row[1] for row in table.texts()] == ["-0.025 [-0.087, +0.025]", "–", "+0.500"]
    assert table.numeric == [False, True]
    assert table.csv() == "a,b less c,b less c low,b less c high\nx,-0.025,-0.0875,0.025\ny,,,\nz,0.5,,\n"
    table.write(tmp_path)
    again = Table.of_record(json.loads((tmp_path / "t.json").read_text()))
    assert again.texts() == table.texts()


def test_wide_tables_go_on_below_with_their_first_column():
    table = Table("t", "T", ("detector", "mAcc", "mAUC", "AUC a"), (("CINEMAE", 0.5, 0.6, 0.7), ("x", 0.1, 0.2, 0.3)))
    assert table.plain(24).splitlines() == [
        "detector   mAcc   mAUC", "CINEMAE   0.500  0.600", "x         0.100  0.200", "",
        "detector  AUC a", "CINEMAE   0.700", "x         0.300",
    ]
    assert len(table.plain().splitlines()) == 3
    assert Table("t", "T", ("a", "b"), (("x", "long"), ("y", "z"))).plain().splitlines()[2] == "y  z"


def test_differences_show_their_sign():
    rows = (("x", 1.5), ("y", -2.0), ("z", None))
    table = Table("t", "T", ("a", "difference"), rows, digits=1, signed=("difference",))
    assert [row[1] for row in table.texts()] == ["+1.5", "-2.0", "–"]
    assert Table.of_record(table.record()) == table
