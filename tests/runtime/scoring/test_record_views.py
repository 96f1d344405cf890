"""A record as a dictionary, as HTML in a notebook, and many as a data frame."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from dataclasses import replace
from html import escape

import numpy as np
import pytest
from cinemae.runtime import Stats, to_dataframe
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.colour_map import colour_table
from cinemae.runtime.core.errors import MissingDependencyError
from cinemae.runtime.evidence.fact import Evidence, Trust
from cinemae.runtime.scoring.likelihood_ratio import LikelihoodRatio
from cinemae.runtime.scoring.record import FLAT_FIELDS, RECORD_FIELDS, Failure, Reason, Tile, from_dict
from PIL import Image
from records import LIKELIHOOD, RUN, record

HOSTILE = '<img src=x onerror="alert(1)">&'
LCAS = np.arange(16, dtype=np.float32)
DECLARED = Evidence("source_type", "C2PA", "The file declares itself A", "A", "raw", "ai",
                    Trust("A", "valid", "unlisted", "unstamped", "unchecked"))
RECORD = record(
    f"{HOSTILE}.jpg", "ai", (Reason("grey", HOSTILE),), probability=0.987, logit=4.3, stats=Stats(1, 2, 3), lcas=LCAS,
    evidence=(DECLARED, Evidence("camera", HOSTILE, HOSTILE, HOSTILE)), run=replace(RUN, engine=HOSTILE),
    likelihood_ratio=LikelihoodRatio.of(Calibration(likelihood=LIKELIHOOD), 2.0),
)
FAILED = record("b.jpg", error=Failure("damaged", f"{HOSTILE} is not an image"))


def test_to_dict_is_the_json_record():
    assert tuple(RECORD.to_dict()) == RECORD_FIELDS
    assert from_dict(json.loads(json.dumps(RECORD.to_dict()))) == RECORD


def test_a_notebook_shows_verdict_rate_and_heatmap():
    html = RECORD._repr_html_()
    assert "● AI" in html
    text = escape(HOSTILE)
    places = [html.index(part) for part in (f"{text} [{text}]", RECORD.likelihood_ratio.text, f"<li>{text}</li>")]
    assert places == sorted(places)  # the file, the score, what qualifies it
    assert "98.7%, assuming that 50 % of the images are AI-generated" in html
    assert "at most 5 % of the real images of a source get this; 1 new source in 10 may exceed that" in html
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert image.shape == (168, 168, 3)
    assert (image[0, 0] == colour_table()[0]).all()
    assert (image[-1, -1] == colour_table()[-1]).all()
    assert len(html) < 8000


@pytest.mark.parametrize("one", [RECORD, FAILED])
def test_text_is_escaped(one):
    html = one._repr_html_()
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;" in html


def test_maps_of_tiles_maps_with_holes_and_none():
    assert "<figure" not in FAILED._repr_html_()
    assert "3 dark to 15 bright" in record("a", "real", lcas=np.where(LCAS < 3, np.nan, LCAS))._repr_html_()
    assert "<figure" not in record("a", "real", lcas=np.full(4, np.nan, np.float32))._repr_html_()
    tiled = record("a", "real", lcas=np.arange(28, dtype=np.float32).reshape(4, 7), tiles=(Tile(0, 0, 64, 1.0),))
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', tiled._repr_html_())
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (168, 96)


def test_a_data_frame_has_the_columns_of_csv():
    pytest.importorskip("pandas", reason="needs the pandas extra")
    frame = to_dataframe(iter([RECORD, FAILED]))
    assert tuple(frame.columns) == FLAT_FIELDS
    assert frame["s3"][0] == 3
    assert frame["likelihood_ratio"].tolist() == [pytest.approx(10), pytest.approx(np.nan, nan_ok=True)]
    assert frame["support"].tolist()[0] == "weak support for AI-generated"
    assert (frame["false_alarm_gamma"][0], frame["withheld"][0]) == (0.1, "")
    assert frame["probability"].isna().tolist() == [False, True]
    assert frame["reasons"].tolist() == [HOSTILE, ""]
    assert frame["reason_codes"].tolist() == ["grey", ""]
    assert frame["evidence"].tolist() == [f"{DECLARED.statement}; {HOSTILE}", ""]
    assert frame["error_kind"].tolist()[1] == "damaged"
    assert frame["engine"].tolist() == [HOSTILE, "tiny@0123"]
    assert len(to_dataframe([])) == 0


def test_without_pandas_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[pandas\]"):
        to_dataframe([])
