"""What `eval` and `calibrate` say of the verdicts: counts by source, whether the promise held, and what is promised."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
from cinemae.runtime.core.calibration import Calibration, SourceRates
from cinemae.train.calibration.calibrate import calibrate
from cinemae.train.calibration.rates import Rates
from cinemae.train.calibration.scores import Scores
from cinemae.train.evaluation.eval_files import write_eval
from cinemae.train.evaluation.evaluate import evaluate
from cinemae.train.evaluation.verdicts import (
    broken_promises,
    count_verdicts,
    promise_kept,
    promise_text,
    promise_warnings,
    rates_table,
    reachable_rates,
)

CALIBRATION = Calibration(ai_from=1.0, real_below=-1.0, false_alarm=0.2, miss=0.5, n_real=9, n_ai=9)


def scored(*groups):
    """Scores of (generator, label, logits)."""
    rows = [(name, label, logit) for name, label, logits in groups for logit in logits]
    generators, labels, logits = zip(*rows, strict=True)
    return Scores(np.float32(logits), np.array(labels), np.array(generators), np.full(len(rows), "val"))


def test_counts_of_each_source_and_of_the_class_and_whether_the_promise_held():
    scores = scored(("a", 0, [-2, 0, 1, 2]), ("b", 0, [-2] * 4), ("a", 1, [-2, 3]))
    counts = [(c.label, c.source, c.ai, c.uncertain, c.real) for c in count_verdicts(scores, CALIBRATION)]
    assert counts == [
        ("real", "a", 2, 1, 1), ("real", "b", 0, 0, 4), ("real", "all", 2, 1, 5),
        ("ai", "a", 1, 0, 1), ("ai", "all", 1, 0, 1),
    ]
    never = CALIBRATION.model_copy(update={"ai_from": None})
    assert promise_kept(count_verdicts(scores, never), never).startswith("ai is never given")


def test_a_generator_may_be_called_all():
    counts = count_verdicts(scored(("all", 0, [2.0]), ("b", 0, [-2.0, -2, -2])), CALIBRATION)
    assert [(c.source, c.images, c.ai) for c in counts] == [("all", 1, 1), ("b", 3, 0), ("all", 4, 1)]
    assert "of 2 sources held in 0, not shown in 2, broken in 0" in promise_kept(counts, CALIBRATION)


def test_a_rate_is_held_broken_or_not_shown_source_by_source():
    """20 % of real images and 50 % of AI images are promised: 40 images each, an exact interval each."""
    groups = [(name, 0, [2.0] * wrong + [0.0] * (40 - wrong)) for name, wrong in (("b", 25), ("h", 1), ("n", 8))]
    counts = count_verdicts(scored(*groups, ("h", 1, [-2.0] * 10 + [0.0] * 30)), CALIBRATION)
    ai, real = promise_kept(counts, CALIBRATION).splitlines()
    assert ai.startswith("ai, promised to at most 20.0% of a source's real images (100% of new sources may exceed")
    assert ai.endswith("of 3 sources held in 1, not shown in 1, broken in 1 (b 25 of 40)")
    assert real.endswith("of 1 sources held in 1, not shown in 0, broken in 0")


def test_tiers_of_an_image_are_no_more_images_and_a_source_is_as_good_as_its_worst_tier():
    """Of 40 real images, 1 is called ai as found, 25 are called so at 512 px: 20 % were promised."""
    tiers = [("val", 1), ("val, 768 px, JPEG 60", 8), ("val, 512 px, JPEG 40", 25)]
    logits = np.concatenate([[2.0] * wrong + [0.0] * (40 - wrong) for _, wrong in tiers]).astype(np.float32)
    splits = np.repeat([name for name, _ in tiers], 40)
    scores = Scores(logits, np.zeros(120, np.int64), np.full(120, "mine"), splits)
    counts = count_verdicts(scores, CALIBRATION)
    assert [(one.source, one.ai, one.images) for one in counts] == [
        ("mine", 1, 40), ("mine, 512 px, JPEG 40", 25, 40), ("mine, 768 px, JPEG 60", 8, 40), ("all", 1, 40)
    ]
    kept = promise_kept(counts, CALIBRATION)
    assert kept.endswith("of 1 sources held in 0, not shown in 0, broken in 1 (mine, 512 px, JPEG 40 25 of 40)")
    (warning,) = broken_promises(counts, CALIBRATION)
    assert warning.startswith("ai was promised to at most 20.0% of a source's real images, and the evaluation found")
    assert "mine, 512 px, JPEG 40 25 of 40" in warning
    assert broken_promises(counts[:1] + counts[-1:], CALIBRATION) == []
    assert broken_promises(counts, CALIBRATION.model_copy(update={"ai_from": None})) == []


def test_a_withheld_verdict_is_warned_of():
    withheld = CALIBRATION.model_copy(update={"ai_from": None, "withheld": ("ai",)})
    assert any(one.startswith("ai is never given: ") for one in promise_warnings(withheld, scored(("a", 0, [0.0]))))
    assert not any("never given" in one for one in promise_warnings(CALIBRATION, scored(("a", 0, [0.0]))))


def test_a_single_source_is_said_to_set_gamma_and_to_leave_the_interval_without_sources():
    rng = np.random.default_rng(0)
    logits, labels = np.r_[rng.normal(-9, 1, 100), rng.normal(9, 1, 100)], np.repeat([0, 1], 100)
    sources = np.where(labels == 0, "photos", np.tile(["a", "b"], 100))
    scores = Scores(np.float32(logits), labels, sources)
    found = calibrate(scores, "", Rates())
    assert found.false_alarm_gamma == 0.5
    (warning,) = promise_warnings(found, scores)
    assert warning.startswith("all real images of the calibration are of photos: no rate is promised for others")
    assert "gamma is 0.5 whatever is asked for" in warning
    assert "the interval of the likelihood ratio knows no difference between sources" in warning


def test_too_few_images_are_one_warning_of_a_class():
    scores = scored(("a", 0, [-2.0, 0]), ("b", 0, [-1.0]), ("a", 1, [1.0, 2]), ("b", 1, [3.0]))
    found = promise_warnings(calibrate(scores, "", Rates()), scores)
    assert [warning.partition(" images")[0] for warning in found] == ["3 real", "3 AI"]


def test_the_advised_rate_gives_the_verdict_or_is_not_advised():
    """Ten images of a class promise no rate below 1 / 11, at which scores may still be no evidence."""
    apart = scored(*((name, label, np.arange(5.0) + 9 * label) for name in "ab" for label in (0, 1)))
    found = calibrate(apart, "", Rates())
    assert reachable_rates(found, apart) == {"false_alarm": 0.091, "miss": 0.091}
    given = calibrate(apart, "", Rates(false_alarm=0.091, miss=0.091))
    assert None not in (given.ai_from, given.real_below)
    assert "choose --false-alarm 0.091 or larger" in promise_warnings(found, apart)[0]
    mixed = scored(*((name, label, np.arange(5.0) + 0.1 * label) for name in "ab" for label in (0, 1)))
    found = calibrate(mixed, "", Rates())
    assert reachable_rates(found, mixed) == {}
    assert all("is a score shown to be evidence; fit with more" in one for one in promise_warnings(found, mixed))


def test_scores_that_rank_real_above_ai_are_one_warning_with_the_images_and_their_auc():
    scores = scored(*((name, label, np.arange(40.0) - 30 * label) for name in "ab" for label in (0, 1)))
    found = calibrate(scores, "80 images of this and that", Rates())
    assert set(found.withheld) == {"ai", "real"}
    (warning,) = promise_warnings(found, scores)
    assert warning.startswith("neither verdict is ever given")
    assert "(AUC 0.03 on 80 images of this and that)" in warning


def test_thresholds_that_meet_leave_nothing_uncertain():
    assert promise_text(CALIBRATION).endswith("; between them uncertain")
    met = CALIBRATION.model_copy(update={"real_below": 1.0})
    assert promise_text(met).endswith("; nothing is uncertain")
    never = CALIBRATION.model_copy(update={"ai_from": None, "real_below": None, "false_alarm": 0.001})
    assert "never given, too few held-out real images (0.1 % needs 999 of a source)" in promise_text(never)
    assert promise_text(never).endswith("; between them uncertain")


def test_shares_add_up_without_a_negative_zero():
    rates = SourceRates(source="a", label="real", images=3, ai=0.7, real=0.3000000000000001)
    row = rates_table(CALIBRATION.model_copy(update={"sources": (rates,)})).rows[0]
    assert str(row[4]) == "0.0"


def test_one_class_alone_makes_a_report(tiny_manifest, tmp_path):
    scores = scored(("a", 0, [0.0, 2]))
    loaded = SimpleNamespace(folder="runs/x", manifest=tiny_manifest.model_copy(update={"calibration": CALIBRATION}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_eval(evaluate(loaded, scores), scores, tmp_path)
    assert "of 1 sources held in 0, not shown in 1, broken in 0" in (tmp_path / "eval.md").read_text()
