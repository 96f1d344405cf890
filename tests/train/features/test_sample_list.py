"""Recorded lists: what an extraction read, joined from its parts, and errors that name the file and the fix."""

from __future__ import annotations

from pathlib import Path

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.data.samples import Sample
from cinemae.train.features.sample_list import (
    SAMPLES_FILE,
    ListedSample,
    keep_samples,
    kept_samples,
    read_samples,
    record_part,
    write_samples,
)

SAMPLES = [ListedSample(f"/data/ä {i}.png", i % 2, "sd", "train", f"{i:064x}") for i in range(5)]
RUN = [Sample(Path(s.path), s.label, s.generator, s.split) for s in SAMPLES]


def test_a_list_holds_each_sample_once_in_order(tmp_path):
    write_samples(tmp_path / "a.jsonl", [*SAMPLES[::-1], SAMPLES[0]])
    write_samples(tmp_path / "b.jsonl", SAMPLES)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert read_samples(tmp_path / "a.jsonl") == SAMPLES


def test_parts_are_joined_when_the_last_one_is_there(tmp_path):
    record_part(tmp_path, RUN, (1, 2), SAMPLES[1::2])
    assert not (tmp_path / SAMPLES_FILE).exists()
    record_part(tmp_path, RUN[:4], (0, 2), SAMPLES[:4:2])
    assert not (tmp_path / SAMPLES_FILE).exists(), "a part of another run"
    record_part(tmp_path, RUN, (0, 2), SAMPLES[::2])
    assert read_samples(tmp_path / SAMPLES_FILE) == SAMPLES


def test_the_list_of_a_fit_is_found_by_its_digest(tmp_path):
    digest, other = keep_samples(tmp_path, SAMPLES), keep_samples(tmp_path, SAMPLES[:3])
    assert digest != other
    assert read_samples(kept_samples(tmp_path, digest)) == SAMPLES
    assert read_samples(kept_samples(tmp_path, other)) == SAMPLES[:3]


@pytest.mark.parametrize("text", ["{", '{"path": "x"}', "[1]", '"path"'])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "list.jsonl").write_text(text)
    with pytest.raises(UsageError, match="no list of samples"):
        read_samples(tmp_path / "list.jsonl")
    with pytest.raises(UsageError, match="no extraction"):
        read_samples(tmp_path / SAMPLES_FILE)
