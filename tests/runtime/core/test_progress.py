"""The progress line: rate, total, time left, note, share by time; a bar on a terminal, nothing when quiet."""

import io
import sys

import pytest
from cinemae.runtime.core import progress as module
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.progress import Progress, duration


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_line_a_minute_and_a_last_one(clock, capsys):
    with Progress("images", 3000, done=1000) as progress:
        for _ in range(6):
            clock.now += 20
            progress.advance(200, "loss 0.5")
    assert capsys.readouterr().err.splitlines() == [
        "1,600/3,000 images, 10.0/s, ETA 0:02:20, loss 0.5",
        "2,200/3,000 images, 10.0/s, ETA 0:01:20, loss 0.5",
        "2,200/3,000 images, 10.0/s, loss 0.5",
    ]


def test_the_line_can_be_shown_before_the_first_item(clock, capsys):
    with Progress("images", 3000, closing=False) as progress:
        progress.show()
        progress.advance()
    with Progress("images", 3000, quiet=True) as quiet:
        quiet.show()
    assert capsys.readouterr().err == "0/3,000 images, 0.0/s\n"


def test_share_of_the_time_replaces_the_count(clock, capsys):
    with Progress("images", 10_000, closing=False) as progress:
        clock.now += 90
        progress.advance(90, share_left=(0.25, 270))
    assert capsys.readouterr().err == "90/10,000 images, 1.0/s, 25%, ETA 0:04:30\n"


def test_unknown_total_and_quiet(clock, capsys):
    with Progress("inputs", closing=False) as progress:
        clock.now += 60
        progress.advance(6)
    with Progress("inputs", quiet=True) as quiet:
        clock.now += 60
        quiet.advance()
    assert capsys.readouterr().err == "6 inputs, 0.1/s\n"


def test_a_total_that_cannot_be_counted_is_unknown(capsys):
    def count():
        raise UsageError("no such list")

    with Progress("inputs", count) as progress:
        progress.advance()
    assert capsys.readouterr().err.startswith("1 inputs, ")


def test_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module, "BAR_SECONDS", 0.0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("images", 4) as progress:
        progress.advance(2, "epoch [1]")
    shown = terminal.getvalue()
    assert "2/4 images" in shown
    assert "epoch [1]" in shown
    assert shown.endswith("/s, epoch [1]\n")


def test_duration():
    assert duration(3725.9) == "1:02:05"
