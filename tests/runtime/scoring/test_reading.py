"""The words on a run: each verdict with its rate, and none where no rate is known."""

import pytest
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.scoring.options import ScoringOptions
from cinemae.runtime.scoring.reading import CAVEAT, OWN_THRESHOLD, is_contrary, legend, words
from cinemae.runtime.scoring.verdict import run_of

BOTH = Calibration(a=2.0, b=1.0, ai_from=1.0, real_below=-1.0, false_alarm=0.05, miss=0.07)


@pytest.fixture
def run(tiny_manifest):
    def make(calibration=BOTH, **options):
        return run_of(tiny_manifest.model_copy(update={"calibration": calibration}), ScoringOptions(**options))

    return make


def test_the_legend_names_both_rates(run):
    first, second = legend(run())
    assert first == (
        "ai: at most 5 % of real images get this; real: at most 7 % of AI images get this; "
        "uncertain: the score supports neither"
    )
    assert second == f"{CAVEAT} P(AI): assuming that 50 % of the images are AI-generated."


def test_thresholds_are_stated_at_the_prior(run):
    found = run(prior=0.01)
    assert found.ai_from == BOTH.probability(1.0, 0.01) < BOTH.probability(1.0)
    assert "1 % of the images" in words(found)["prior"]


def test_a_threshold_of_ones_own_has_no_rate(run):
    found = run(threshold=0.9)
    assert found.ai_from == found.real_below == pytest.approx(0.9)
    assert legend(found)[0] == f"ai and real: {OWN_THRESHOLD}"
    assert (words(found)["real"], words(found)["caveat"]) == (OWN_THRESHOLD, "")


def test_nothing_is_promised_where_nothing_was_measured(run):
    for unknown in (run(Calibration(ai_from=1.0, real_below=-1.0, false_alarm=0.05)), run(tiles=True)):
        assert words(unknown)["real"] == "no rate is known, any share of AI images may get this"
    few = run(Calibration(ai_from=None, real_below=-1.0, false_alarm=0.01, miss=0.05))
    assert words(few)["ai"] == "never given, too few real images were measured"
    assert few.ai_from is None


@pytest.mark.parametrize(
    ("verdict", "probability", "expected"),
    [("real", 0.51, True), ("ai", 0.49, True), ("real", 0.5, False), ("ai", 0.5, False), ("uncertain", 0.9, False),
     (None, None, False), ("real", None, False)],
)
def test_a_verdict_against_its_probability(verdict, probability, expected):
    assert is_contrary(verdict, probability) is expected
