"""The report: the result first, published figures with the difference, failed studies, dark mode, nothing fetched."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from browser import chromium, requested_urls
from cinemae.train.reporting import plots
from cinemae.train.reporting.claims import claims
from cinemae.train.reporting.estimate import Estimate
from cinemae.train.reporting.overview import Overview
from cinemae.train.reporting.published import COMMON, beside, published
from cinemae.train.reporting.report import Report
from cinemae.train.reporting.result import Plot, StudyResult
from cinemae.train.reporting.tables import Table

TRAINED = ("stable_diffusion_v_1_4",)


def result(name: str, title: str, *tables: Table) -> StudyResult:
    return StudyResult("", tables, name=name, title=title)


def accuracy(*rows: tuple[str, float, float]) -> StudyResult:
    return result("main", "Main result", Table("accuracy", "A", ("generator", "accuracy", "AUC"), rows))


MAIN = accuracy(
    ("stable_diffusion_v_1_4 *", 0.9, 0.95), ("GLIDE", 0.6, 0.7), ("Midjourney", 0.3, 0.5), ("sdxl", 0.5, 0.5),
    ("mean", 0.7, 0.75),
)
CONTROLS = result("controls", "Controls", Table(
    "controls", "C", ("detector", "mAUC"),
    (("CINEMAE", 0.75), ("logistic head", 0.9), ("f_global", 0.7), ("JPEG probe", 0.8)),
))
FAILED = replace(result("nll", "Reconstruction error alone"), error="RuntimeError: <out of memory>")


def test_published_figures_stand_beside_those_here():
    """Figures as in Table 1 of arXiv 2511.06325."""
    table, auc = beside(MAIN, TRAINED)
    rows = {row[0]: row[1:] for row in table.rows}
    assert table.title.startswith("Table 1 ")
    assert table.columns[1:] == ("accuracy, paper", "accuracy, here", "accuracy, difference")
    assert rows["SD v1.4"] == pytest.approx((98.78, 90.0, -8.78))
    assert rows["GLIDE"][1:] == pytest.approx((60.0, 60.0 - rows["GLIDE"][0]))
    assert rows["mean"][:2] == pytest.approx((96.63, 70.0))
    assert rows["mean"][2] is None, "over other generators"
    assert rows["MJ"] == (95.90, 30.0, None), "a name of many versions"
    assert "Midjourney: which version" in table.note
    assert rows[COMMON] == pytest.approx((97.355, 75.0, -22.355)), "of SD v1.4 and GLIDE"
    assert rows["ADM"][0] == 96.07
    assert math.isnan(rows["ADM"][1])
    assert math.isnan(rows["ADM"][2])
    assert auc.rows[0][1:3] == pytest.approx((99.28, 75.0))
    assert auc.rows[0][3] is None, "the paper has no AUC of each generator"


def test_a_generator_without_version_is_compared_where_the_data_are_the_papers():
    (table, _) = beside(accuracy(*((name, 0.9, 0.9) for name in GENIMAGE), ("mean", 0.9, 0.9)), TRAINED)
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["MJ"] == pytest.approx((95.90, 90.0, -5.9))
    assert rows["mean"] == pytest.approx((96.63, 90.0, -6.63))
    assert "which version" not in table.note


def test_the_benchmark_follows_the_generators_trained_on():
    (table,) = beside(accuracy(("progan", 0.99, 0.9), ("mean", 0.9, 0.9)), ("ProGAN",))
    assert table.title.startswith("Table 2 ")
    assert table.rows[0][:3] == pytest.approx(("ProGAN", 99.9, 99.0))


def test_every_published_row_is_the_papers():
    """Means of the published columns are the published means, so that no figure was mistyped."""
    for one in published():
        assert set(one.match) <= set(one.rows), one.source
        assert {claim["row"] for claim in one.claims} <= set(one.rows)
        if len(one.rows) > 2 and "mean" in one.rows:
            values = [values[0] for name, values in one.rows.items() if name != "mean"]
            assert sum(values) / len(values) == pytest.approx(one.rows["mean"][0], abs=0.05), one.source
    full = {(one.source, one.study): one.rows for one in published()}
    for key, row in (("Table 6a", "statistics"), "s1 + s2 + s3"), (("Table 7", "fusion"), "early add"):
        assert full[key][row] == (96.63, 99.28)
    assert full["Table 5a", "freezing"]["both frozen"] == full["Table 5b", "backbones"]["ViT-L/16, 307M"]


def test_backbones_and_training_sets_are_found():
    rows = (("mae_b (768 x 12)", 0.5, 0.5), ("mae_b (768 x 12), f_global alone", 0.4, 0.4), ("l (1024 x 24)", 0.9, 0.9))
    columns = ("backbone", "mAcc", "mAUC")
    (claim,) = claims(result("backbones", "B", Table("backbones", "B", columns, rows)), TRAINED)
    assert (claim.paper, claim.here) == pytest.approx((96.63 - 73.52, 40.0))
    assert claim.cells == ("Table 5b", "+23.11 points", "+40.00 points", "–"), "no generator is GenImage's"
    sets = (("sd", "Chameleon", 0.6, 0.3, 0.8), ("all generators", "Chameleon", 0.7, 0.4, 0.9))
    table = Table("training_sets", "T", ("trained on", "tested on", "accuracy", "AI", "real"), sets)
    (shown,) = beside(result("training", "T", table), TRAINED)
    assert shown.rows[0][:3] == pytest.approx(("SD v1.4", 61.80, 60.0))
    assert shown.rows[1][-3:] == pytest.approx((84.00, 90.0, 6.0))


GENIMAGE = ("Midjourney", "stable_diffusion_v_1_4", "SD v1.5", "ADM", "glide", "wukong", "VQDM", "BigGAN")


def robustness(*generators: str, name: str = "robustness", change: float = -0.025) -> Table:
    columns = ("condition", "seeds", "mAcc", "mAcc less clean", *(f"AUC {name}" for name in generators))
    rows = (("clean", 3, Estimate(0.95, 0.87, 0.99), None), ("jpeg_50", 3, Estimate(0.925, 0.83, 0.97), None),
            ("grayscale", 3, Estimate(0.95 + change, 0.83, 0.97), Estimate(change, -0.0874, 0.0251)))
    return Table(name, "R", columns, tuple((*row, *(0.9 for _ in generators)) for row in rows))


def test_differences_of_the_overview_have_the_interval_of_the_same_images():
    """Two flips in 80 images, as in the issue of a difference that was stated without an interval."""
    jpeg, gray = claims(result("robustness", "R", robustness(*GENIMAGE)), TRAINED)
    assert gray.text.endswith("(3 seeds)")
    assert gray.cells == ("Sec. 5.2", "-3.78 points", "-2.50 points [-8.74, +2.51]", "+1.28")
    assert jpeg.here.low == pytest.approx(-2.5 - 100 * math.hypot(0.095, 0.04)), "no column: as if independent"
    assert jpeg.difference == "–", "Table 3 is of other generators"


def test_comparisons_are_over_the_generators_of_both():
    fewer = robustness(*GENIMAGE[:-1], "BigGAN †")
    assert claims(result("robustness", "R", fewer), TRAINED)[1].difference == "–", "BigGAN is only reported"
    tables = robustness(*GENIMAGE, "sdxl", change=-0.5), robustness(*GENIMAGE, name="robustness_common")
    assert claims(result("robustness", "R", *tables), TRAINED)[1].cells[2:] == ("-2.50 points [-8.74, +2.51]", "+1.28")
    (table,) = [one for one in beside(result("robustness", "R", *tables), TRAINED) if "5.2" in one.title]
    assert table.rows[1][1:] == pytest.approx((92.85, 92.5, -0.35))


def test_the_lead_has_the_result_and_what_did_not_run():
    overview = Overview((MAIN, CONTROLS, FAILED), TRAINED)
    assert [(card.value, card.bad) for card in overview.cards] == [
        ("75.00 %", False), ("75.00 %", False), ("-5.0 points", False), ("1 of 2", True),
    ]
    assert overview.cards[0].label == "mAcc, 2 generators in both"
    assert overview.cards[0].note == "paper 97.36 %, difference -22.36"
    assert overview.cards[1].note == "paper 99.28 %, of other generators"
    assert "JPEG probe 80.0 %" in overview.cards[2].note, "a head on the same features is no control"
    assert overview.ran == (
        "1 of 2 studies with a published figure ran; 1 of 1 studies without a published figure ran; "
        "these could not: Reconstruction error alone."
    )
    assert [result.name for result, _ in overview.lines] == ["main", "main", "controls", "nll"]
    assert overview.table().rows[3][1] == "could not run: RuntimeError: <out of memory>"


@pytest.fixture
def page(tmp_path) -> Path:
    for name in ("plot.svg", "photographs.svg"):
        with plots.drawing(tmp_path / name, 14, 4) as figure:
            figure.add_subplot().plot([0, 1], [0, 1])
    main = replace(MAIN, plots=(Plot("plot.svg", "A plot"), Plot("photographs.svg", "Photographs", photographs=True)))
    report = Report(("A <fact>.",), ((main, tmp_path), (CONTROLS, tmp_path), (FAILED, tmp_path)), TRAINED)
    report.write_html(tmp_path / "report.html")
    report.write_markdown(tmp_path / "report.md")
    return tmp_path / "report.html"


def test_a_failed_study_is_a_row_with_its_reason_at_its_place(page):
    text = page.read_text()
    reason = "RuntimeError: &lt;out of memory&gt;"
    assert '<a href="#nll">Reconstruction error alone</a></th><td colspan="5" class="failed">' in text
    assert text.count(reason) == 2, "in the overview, and in the place of its section"
    section = text[text.index('<h2 id="nll">') :]
    assert reason in section
    assert "Fig. 4, Sec. 3 of the paper" in section, "the published figures stand there all the same"
    assert "**Could not run:** RuntimeError" in page.with_suffix(".md").read_text()
    assert text.index("1 of 2 studies with a published figure ran") < text.index('<h2 id="main">')


def test_the_page_is_self_contained_and_dark_too(page):
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)=["']?(?!["']|data:|#)|url\(|@import""", text)
    assert "https://" not in text
    assert "http://" not in text
    assert "default-src 'none'" in text
    assert "--paper: light-dark(#f7f5f0, #131519)" in text, "the image report's palette"
    assert text.count("Shows images of the data set") == 1
    svg = base64.b64decode(re.findall(r"data:image/svg\+xml;base64,([^\"]+)", text)[0]).decode()
    assert f"fill: {plots.GROUND}" in svg, "it reads on any ground, because it has its own"


@pytest.mark.browser
def test_no_width_overflows_and_dark_plots_are_light_on_dark_in_chromium(page):
    for dark in (False, True):
        with chromium(dark) as driver:
            driver.get(page.as_uri())
            for width in (390, 768, 1440):
                size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                assert driver.execute_script("return document.documentElement.scrollWidth") <= width
            ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert ground == ("rgb(19, 21, 25)" if dark else "rgb(247, 245, 240)")
            assert driver.execute_script("return document.images[0].naturalWidth") > 1000
            shown = driver.execute_script("return [...document.images].map((one) => getComputedStyle(one).filter)")
            assert shown == ["invert(0.9) hue-rotate(180deg)" if dark else "none", "none"], "no photograph is inverted"
            assert not [url for url in requested_urls(driver) if url.startswith("http")]
            assert [e for e in driver.get_log("browser") if e["level"] == "SEVERE"] == []
