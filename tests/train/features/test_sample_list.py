"""Recorded lists: what an extraction read, joined from its parts, and errors that name the file and the fix."""

from __future__ import annotations

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.data.sample import Sample
from cinemae.train.features.sample_list import (
    SAMPLES_FILE,
    read_recorded,
    record_part,
    start_part,
    write_recorded,
)

SAMPLES = [Sample(f"/data/ä {i}.png", i % 2, "sd", "train", f"{i:064x}") for i in range(5)]
RUN = [sample._replace(content="") for sample in SAMPLES]


def test_a_list_holds_each_sample_once_in_order(tmp_path):
    write_recorded(tmp_path / "a.jsonl", [*SAMPLES[::-1], SAMPLES[0]])
    write_recorded(tmp_path / "b.jsonl", SAMPLES)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert read_recorded(tmp_path / "a.jsonl") == SAMPLES


def test_parts_are_joined_when_the_last_one_is_there(tmp_path):
    record_part(tmp_path, RUN, (1, 2), SAMPLES[1::2])
    assert not (tmp_path / SAMPLES_FILE).exists()
    record_part(tmp_path, RUN[:4], (0, 2), SAMPLES[:4:2])
    assert not (tmp_path / SAMPLES_FILE).exists(), "a part of another run"
    record_part(tmp_path, RUN, (0, 2), SAMPLES[::2])
    assert read_recorded(tmp_path / SAMPLES_FILE) == SAMPLES


def test_a_second_extraction_joins_no_list_of_the_first(tmp_path):
    for part in range(2):
        start_part(tmp_path, RUN, (part, 2))
        record_part(tmp_path, RUN, (part, 2), SAMPLES[part::2])
    now = [sample._replace(content="f" * 64) for sample in SAMPLES]  # the files were replaced
    start_part(tmp_path, RUN, (0, 2))
    assert not (tmp_path / SAMPLES_FILE).exists()
    record_part(tmp_path, RUN, (0, 2), now[::2])
    assert not (tmp_path / SAMPLES_FILE).exists(), "part 1 is of the first extraction"
    start_part(tmp_path, RUN, (1, 2))  # killed, and started again
    start_part(tmp_path, RUN, (1, 2))
    record_part(tmp_path, RUN, (1, 2), now[1::2])
    assert read_recorded(tmp_path / SAMPLES_FILE) == now


@pytest.mark.parametrize("text", ["{", '{"path": "x"}', "[1]", '"path"'])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "list.jsonl").write_text(text)
    with pytest.raises(UsageError, match="no list of samples"):
        read_recorded(tmp_path / "list.jsonl")
    with pytest.raises(UsageError, match="no extraction"):
        read_recorded(tmp_path / SAMPLES_FILE)
