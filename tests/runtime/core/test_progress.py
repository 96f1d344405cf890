"""The progress line: rate, total, time left, note, share by time; a bar on a terminal, nothing when quiet."""

import io
import sys
from types import SimpleNamespace

import pytest
from cinemae.runtime.core import progress as module
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.progress import Progress, duration, step


@pytest.fixture
def wait(monkeypatch):
    """Lets seconds pass on the clock that `Progress` reads."""
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return lambda seconds: now.append(now.pop() + seconds)


def test_a_line_a_minute_and_a_last_one(wait, capsys):
    with Progress("images", 3000, done=1000) as progress:
        for _ in range(6):
            wait(20)
            progress.advance(200, "loss 0.5")
    assert capsys.readouterr().err.splitlines() == [
        "1,600/3,000 images, 10.0/s, ETA 0:02:20, loss 0.5",
        "2,200/3,000 images, 10.0/s, ETA 0:01:20, loss 0.5",
        "2,200/3,000 images, 10.0/s, loss 0.5",
    ]


@pytest.mark.parametrize("total", [1_000, 1_000_000])
def test_a_log_has_ten_lines_and_the_last_whatever_the_total(wait, capsys, total):
    with Progress("images", total) as progress:
        for _ in range(1000):
            wait(30)
            progress.advance(total // 1000)
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 12, "after the first minute, each tenth, and the last"
    assert shown[1].startswith(f"{total // 10:,}/{total:,} images, ")


def test_the_parts_of_a_step_that_shares_its_lines_have_those_of_one(wait, capsys):
    with step("study 2 of 4, nll", shared=True):
        for _ in range(300):
            with Progress("images", 100) as progress:
                progress.show()
                for _ in range(10):
                    wait(6)
                    progress.advance(10)
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 9, "after 1, 2, 4, 8, 16 ... 256 of 300 minutes"
    assert shown[0].startswith("study 2 of 4, nll: 100/100 images, ")


@pytest.mark.parametrize(
    ("total", "first", "options", "line"),
    [
        (3000, True, {"closing": False}, "0/3,000 images, 0.0/s\n"),
        (3000, True, {"quiet": True}, ""),
        (10_000, False, {"closing": False}, "90/10,000 images, 1.0/s, 25%, ETA 0:04:30\n"),
        (None, False, {"closing": False}, "90 images, 1.0/s, 25%, ETA 0:04:30\n"),
    ],
)
def test_one_line(wait, capsys, total, first, options, line):
    with Progress("images", total, **options) as progress:
        if first:
            progress.show()
        else:
            wait(90)
            progress.advance(90, share_left=(0.25, 270))
    assert capsys.readouterr().err == line


def test_a_total_that_cannot_be_counted_is_unknown(capsys):
    def count():
        raise UsageError("no such list")

    with Progress("inputs", count) as progress:
        progress.advance()
    assert capsys.readouterr().err.startswith("1 input, ")


def test_bar_on_a_terminal(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module, "BAR_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("images", 4) as progress:
        progress.advance(2, "epoch [1]")
    assert "2/4 images" in terminal.getvalue()
    assert terminal.getvalue().endswith("/s, epoch [1]\n")
    assert duration(3725.9) == "1:02:05"


def test_a_step_of_several_is_named_before_its_progress(wait, capsys):
    with step("2/6 extract"), Progress("images", 2) as progress:
        progress.advance(2)
        wait(1)
    with Progress("images", 2):
        wait(1)
    assert capsys.readouterr().err.splitlines() == ["2/6 extract: 2/2 images, 2.0/s", "0/2 images, 0.0/s"]
