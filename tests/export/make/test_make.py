"""`cinemae make`: one command from a folder and weights to an engine, its card and its page."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cinemae.export.make.make import SHOWN, recipe
from cinemae.export.make.plan import best_case_warnings, check_data
from cinemae.export.make.steps import Steps
from cinemae.runtime import Detector
from cinemae.runtime.cli.main import app
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.train.calibration.rates import Rates
from cinemae.train.data.sample import Sample
from cinemae.train.features.cache import read_rows
from commands import outcome
from forked import forked
from pictures import encoded
from published_layouts import TINY, fair_shapes, fair_state, write_fair
from training_tree import add, render

TRAIN, TEST = 40, 3
WEIGHTS = "mae_visualize_vit_base.pth"
MAKE = ("make", "data", "--backbone", WEIGHTS)
COMMAND = (*MAKE, "--threads", "1", "--no-tiers")
STEPS = ("audit", "extract", "fit", "evaluate", "export", "report")


def weights(folder: Path) -> Path:
    """A tiny backbone as FAIR publishes them."""
    return write_fair(folder / WEIGHTS, fair_state(fair_shapes(**TINY)))


@pytest.fixture
def place(tmp_path):
    """A folder with weights, and data of two sources of each class."""
    for generator in ("gen_a", "gen_b"):
        add(tmp_path / "data", generator, "train", TRAIN)
        add(tmp_path / "data", generator, "val", TEST)
    weights(tmp_path)
    return tmp_path


def make(place: Path, *more: str) -> str:
    """What the command prints, run to its end."""
    with forked(place, *COMMAND, *more) as (process, printed):
        text = printed.read()
        process.join()
        assert process.exitcode == 0, text
    return text


def killed_at(place: Path, line: str) -> str:
    """The command, killed with SIGKILL when it has printed `line`; all that it printed until then."""
    text = ""
    with forked(place, *COMMAND) as (_, printed):
        for found in printed:
            text += found
            if found == f"{line}\n":
                return text
    pytest.fail(f"never printed {line}:\n{text}")


def cached_rows(place: Path) -> int:
    return sum(len(read_rows(shard)) for shard in (place / "runs" / "cache").glob("*/*.safetensors"))


def done_before(text: str) -> list[str]:
    return re.findall("^[1-6]/6 ([a-z]+): done before$", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_in_every_step_it_goes_on_and_more_data_costs_only_the_new(place):
    images = 4 * (TRAIN + TEST)
    for number, name in enumerate(STEPS):
        text = killed_at(place, f"{number + 1}/6 {name}")
        assert done_before(text) == [done for done in STEPS[: max(0, number - 1)] if done != "extract"]
        assert not (place / "models" / "cinemae.md").exists()
    (place / "models" / "cinemae.onnx").write_bytes(b"damaged")
    text = make(place)
    assert done_before(text) == ["audit", "fit", "evaluate"]
    assert f"0 images computed, {images} cached before, 0 skipped" in text
    assert text.endswith("next: cinemae run PHOTOS --engine models/cinemae.onnx\n")

    engine, card = place / "models" / "cinemae.onnx", (place / "models" / "cinemae.md").read_text("utf-8")
    made = read_manifest(engine)
    n_trained = made.training.n_ai + made.training.n_real
    for expected in (
        "license: cc-by-nc-4.0", "at most 5 % of the real images of a source get this; 1 new source in 3 may exceed",
        "### Likelihood ratio", f"| gen_a | train | {TRAIN} | {TRAIN} | {2 * TRAIN} |",
        "**Warning.** A classifier that sees only", f"SHA-256 {made.backbone.sha256}",
        "--engine 'models/cinemae.onnx'",
    ):
        assert expected in card
    assert re.search(r"\| gen_b \* \| val \|.* \d\.\d+ \[\d\.\d+, \d\.\d+\]", card), "figures with intervals"
    warnings = re.findall(r"^warning: (.*)$", text.partition("6/6 report")[2], re.MULTILINE)
    assert any(warning.startswith("too few real images") for warning in warnings), "the last lines"
    assert [warning for warning in warnings if f"> **Warning.** {warning}." not in card] == []
    page = (place / "models" / "cinemae.html").read_text("utf-8")
    assert page.count("data/gen_b/val/ai") >= TEST
    rows = [row for part in re.findall(r'class="rows">(.*?)</script', page, re.DOTALL) for row in json.loads(part)]
    assert {row["y"] for row in rows} == {"ai", "real"}
    assert [row for row in rows if f"/{'nature' if row['y'] == 'real' else 'ai'}/" not in row["p"]] == []
    assert f"<title>{made.label} on labelled images</title>" in page
    with Detector.load(engine) as detector:
        assert detector.detect(place / "data" / "gen_a" / "val" / "ai" / "0.png").verdict != "real"

    assert done_before(make(place)) == ["audit", "fit", "evaluate", "export", "report"]

    add(place / "data", "gen_b", "train", 2, first=TRAIN)
    (place / "data" / "gen_b" / "val" / "ai" / "0.png").rename(place / "data" / "gen_b" / "val" / "ai" / "new.png")
    text = make(place)
    assert done_before(text) == []
    assert f"0 images computed, {images + 4} cached before" in text, "the new are those measured first"
    assert cached_rows(place) == images + 4 + 1, "nothing but the new, and a copy for the image of another name"
    assert read_manifest(engine).training.n_ai + read_manifest(engine).training.n_real > n_trained


@pytest.mark.slow
def test_a_second_run_on_the_same_engine_is_refused_and_the_first_goes_on(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    with forked(place, *COMMAND) as (process, printed):
        assert printed.readline().startswith("audit, extract,")
        os.kill(process.pid, signal.SIGSTOP)
        code, out, err = outcome(capsys, app, *MAKE)
        assert (code, out) == (3, "")
        assert err == "error: models/cinemae: another run is writing it; name another file, or wait\n"
        os.kill(process.pid, signal.SIGCONT)
        assert "1/6 audit\n" in printed
    assert outcome(capsys, app, *MAKE, "--licence", "MIT")[0] == 2, "a killed run leaves no lock"


@pytest.mark.slow
def test_another_precision_needs_another_name_and_fp16_has_its_cost_in_a_report(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    make(place, "--fp16", "--out", "models/half.onnx")
    assert read_manifest(place / "models" / "half.onnx").precision == "fp16"
    assert "fp16 beside fp32" in (place / "models" / "half.report.md").read_text("utf-8")
    code, _, err = outcome(capsys, app, *MAKE, "--out", "models/half.onnx")
    assert (code, err.count("\n")) == (2, 1)
    assert "models/half.onnx holds a fp16 engine: name another file with --out" in err


PUBLISHED = {
    "community_forensics": ("COCO", "StyleGAN"), "tiny_genimage": ("Real", "SD14"), "open_fake": ("LAION", "flux"),
}
"""Data sets of `published_sets`: a real and an AI source of each."""


@pytest.mark.slow
def test_data_sets_on_the_hub_are_made_into_an_engine_as_they_are_published(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the data extra")
    pytest.importorskip("huggingface_hub", reason="needs the data extra")
    import published_sets
    from fake_hub import fake_hub

    weights(tmp_path)
    command = [sys.executable, "-m", "cinemae", *(word for word in COMMAND if word != "data")]
    with fake_hub() as hub:
        for first, (name, sources) in enumerate(PUBLISHED.items()):
            pictures = [
                published_sets.Picture(encoded(render(i % 2, 1000 * first + i, (80, 72))), i % 2, sources[i % 2])
                for i in range(66)
            ]
            commit = hub.commit(f"datasets/org/{name}", getattr(published_sets, name)(pictures))
            command.append(f"hf://datasets/org/{name}")
        command += ["--ai", "1", "--test-share", "0.4", "--tiers"]
        done = subprocess.run(command, cwd=tmp_path, env=hub.environment(tmp_path / "hub"), timeout=500, check=False)
        assert done.returncode == 0
    made = read_manifest(tmp_path / "models" / "cinemae.onnx")
    assert made.training.generators == tuple(sorted(source for pair in PUBLISHED.values() for source in pair))
    tiers = {"SD14", "SD14, 768 px, JPEG 60", "SD14, 512 px, JPEG 40"}
    assert tiers < {one.source for one in made.calibration.sources}
    assert made.calibration.lowest_quality == 40
    work = tmp_path / "models" / "cinemae"
    listed = [json.loads(line)["path"] for line in (work / "shown.jsonl").read_text("utf-8").splitlines()]
    assert {path.partition("@")[0] for path in listed} == {f"hf://datasets/org/{name}" for name in PUBLISHED}
    assert any(path.startswith(f"hf://datasets/org/open_fake@{commit}/data/test-") for path in listed)
    scored = [json.loads(line)["status"] for line in (work / "scores.jsonl").read_text("utf-8").splitlines()]
    assert scored == ["ok"] * SHOWN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("make", "nowhere", "--backbone", WEIGHTS), "nowhere: no such file or folder"),
        (("make", "data", "--backbone", "none.pth"), "none.pth: no such file or folder"),
        ((*MAKE, "--out", "models"), "--out models: an engine's name ends in .onnx, as in models.onnx"),
        ((*MAKE, "--out", "cinemae-demo.onnx"), "belongs to the bundled engine"),
        ((*MAKE, "--out", f"{WEIGHTS}/a.onnx"), "a.onnx: cannot be written"),
        ((*MAKE, "--cache", WEIGHTS), f"--cache {WEIGHTS}"),
        ((*MAKE, "--false-alarm", "2"), "false_alarm must lie between 0 and 1"),
        ((*MAKE, "--test-share", "2"), "--test-share must be at least 0 and below 1"),
        ((*MAKE, "--device", "tpu"), "unknown device 'tpu'"),
        (MAKE, "no real and no AI images for training, split train"),
    ],
)
def test_wrong_arguments_are_one_sentence_before_any_work(change, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add(tmp_path / "data", "gen_a", "val", 1)
    (tmp_path / WEIGHTS).write_bytes(b"weights that nothing has read yet")
    code, out, err = outcome(capsys, app, *change)
    assert code == (3 if "cannot be written" in message else 2)
    assert message in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")
    assert out == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_licence_of_published_weights_is_refused_before_the_extraction(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    code, _, err = outcome(capsys, app, *MAKE, "--licence", "MIT")
    assert code == 2
    assert "the engine embeds a backbone under CC-BY-NC-4.0" in err
    assert not (place / "runs").exists()


def samples(real=("a", "b"), ai=("c", "d"), split="train", count=300):
    """`count` images of each source."""
    return [Sample(f"{name}-{split}-{i}", label, name, split)
            for label, names in enumerate((real, ai)) for name in names for i in range(count)]


TESTED = samples(split="test", count=1)
CONFIG = recipe(1200, Rates())


def test_data_that_can_promise_gives_no_warning():
    assert best_case_warnings(samples() + TESTED, CONFIG) == []
    expected = "training, split train: 600 real of 2 sources, 600 AI of 2 sources"
    assert check_data(samples() + TESTED, CONFIG)[0] == expected


def test_a_single_source_and_too_few_images_are_told_before():
    warnings = best_case_warnings(samples(real=("a",)) + TESTED, CONFIG)
    assert [one for one in warnings if one.startswith("all real images of the calibration are of a: no rate")]
    assert not [warning for warning in warnings if "AI images of the calibration" in warning]
    few = best_case_warnings(samples(real=("a",), ai=("c",), count=100) + TESTED, CONFIG)
    assert any(re.match(r"10 real images are too few to promise at most 5\.0% of false alarms", one) for one in few)
    assert not [one for one in best_case_warnings(samples(("a",), ("c",)), CONFIG) if "too few" in one]


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (samples(), "no real and no AI images for evaluation"),
        (samples(real=()) + TESTED, "no real images for training"),
        (samples() + samples(ai=(), split="val", count=2), "no AI images for evaluation"),
        (samples(real=("a",), count=29) + TESTED, "29 real images to train on are too few: 30 of a class"),
    ],
)
def test_data_that_lacks_a_split_or_a_class_is_refused(listed, message):
    with pytest.raises(UsageError, match=message):
        check_data(listed, CONFIG)


@pytest.mark.slow
def test_a_single_source_is_warned_of_before_the_weights_are_read(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add(tmp_path / "data", "gen_a", "train", TRAIN)
    add(tmp_path / "data", "gen_a", "val", TEST)
    (tmp_path / WEIGHTS).write_bytes(b"no weights")
    code, _, err = outcome(capsys, app, *MAKE)
    assert code == 3
    warned = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert "warning: 4 real images are too few to promise at most 5.0% of false alarms" in warned[0]
    assert [line for line in warned if line.startswith("warning: all AI images of the calibration are of gen_a: no")]
    assert err.index(warned[-1]) < err.index("loading mae_visualize")


def test_a_step_is_done_again_where_inputs_or_files_changed(tmp_path):
    written, did = tmp_path / "file", []

    def work():
        did.append(1)
        written.write_text("result")
        return [written]

    for inputs, changed, times in (("a", None, 1), ("a", None, 1), ("b", None, 2), ("b", "other", 3), ("a", None, 4)):
        if changed:
            written.write_text(changed)
        Steps(tmp_path / "steps.json").run("fit", inputs, work)
        assert len(did) == times
    written.unlink()
    Steps(tmp_path / "steps.json").run("fit", "a", work)
    assert len(did) == 5
    (tmp_path / "steps.json").write_text('{"fit": ')
    Steps(tmp_path / "steps.json").run("fit", "a", work)
    assert len(did) == 6
    assert json.loads((tmp_path / "steps.json").read_text()).keys() == {"fit"}
