"""The words on a run: each verdict with its rate, and none where no rate is known."""

import pytest
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.evidence.fact import Evidence
from cinemae.runtime.scoring.likelihood_ratio import LikelihoodRatio
from cinemae.runtime.scoring.options import ScoringOptions
from cinemae.runtime.scoring.reading import (
    CAVEAT,
    NEITHER,
    OWN_THRESHOLD,
    RATIO,
    legend,
    next_steps,
    words,
)
from cinemae.runtime.scoring.verdict import run_of
from records import LIKELIHOOD, record

BOTH = Calibration(
    ai_from=1.0, real_below=-1.0, false_alarm=0.05, miss=0.07, false_alarm_gamma=0.1, miss_gamma=1 / 17,
    likelihood=LIKELIHOOD,
)


@pytest.fixture
def run(tiny_manifest):
    def make(calibration=BOTH, **options):
        return run_of(tiny_manifest.model_copy(update={"calibration": calibration}), ScoringOptions(**options))

    return make


def test_the_legend_names_both_rates(run):
    assert legend(run()) == [
        "ai: at most 5 % of the real images of a source get this; 1 new source in 10 may exceed that",
        "real: at most 7 % of the AI images of a source get this; 1 new source in 17 may exceed that",
        f"uncertain: {NEITHER}",
        RATIO,
        f"{CAVEAT} P(AI): assuming that 50 % of the images are AI-generated.",
    ]


def test_a_verdict_that_is_withheld_says_why(run):
    found = run(BOTH.model_copy(update={"real_below": None, "withheld": ("real",)}))
    assert words(found)["real"].startswith("never given: on the images measured")


def test_a_threshold_of_ones_own_has_no_rate(run):
    found = run(threshold=0.9)
    assert found.ai_from == found.real_below == pytest.approx(BOTH.logit_of(0.9))
    assert legend(found)[0] == f"ai and real: {OWN_THRESHOLD}"
    assert (words(found)["real"], words(found)["caveat"]) == (OWN_THRESHOLD, "")


def test_nothing_is_promised_where_nothing_was_measured(run):
    for unknown in (run(Calibration(ai_from=1.0, real_below=-1.0, false_alarm=0.05)), run(tiles=True)):
        assert words(unknown)["real"] == "no rate is known, any share of AI images may get this"
    few = run(Calibration(ai_from=None, real_below=-1.0, false_alarm=0.01, miss=0.05))
    assert words(few)["ai"] == "never given, too few real images were measured"
    assert few.ai_from is None


def test_what_is_undecided_says_what_to_do_next():
    assert next_steps("ai", False, True) == next_steps("real", False, False) == next_steps(None, False, True) == []
    assert next_steps("uncertain", False, False) == ["original", "camera", "copies", "engine"]
    assert next_steps("real", True, True) == next_steps("uncertain", False, True) == ["declared", "copies", "engine"]
    html = record("a", "uncertain", ("band",), probability=0.5)._repr_html_()
    assert "what next: find the original, ask for the camera file, compare other copies" in html


def test_a_declared_ai_image_that_scores_as_real_is_a_contradiction():
    declared = (Evidence("source_type", "XMP", "declares", declares="ai"),)
    ratio = LikelihoodRatio.of(BOTH, -2.0)
    assert ratio.high < 1
    for verdict, likelihood_ratio, evidence, expected in (
        ("real", None, declared, ["declared"]), ("uncertain", ratio, declared, ["declared"]), ("real", ratio, (), []),
        ("uncertain", LikelihoodRatio.of(BOTH, 0.0), declared, []),
    ):
        made = record("a", verdict, probability=0.4, likelihood_ratio=likelihood_ratio, evidence=evidence)
        assert list(made.contradictions) == expected


@pytest.mark.parametrize(
    ("verdict", "probability", "expected"),
    [("real", 0.51, True), ("ai", 0.49, True), ("real", 0.5, False), ("ai", 0.5, False), ("uncertain", 0.9, False),
     (None, None, False), ("real", None, False)],
)
def test_a_verdict_against_its_probability(verdict, probability, expected):
    assert list(record("a", verdict, probability=probability).contradictions) == ["prior"] * expected
