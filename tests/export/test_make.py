"""`cinemae make`: one command from a folder and weights to an engine, its card and its page."""

import json
import re
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
from pictures import encoded
from published_layouts import TINY, fair_shapes, fair_state, write_fair
from training_tree import render

TRAIN, TEST = 40, 6
WEIGHTS = "mae_visualize_vit_base.pth"
MAKE = ("make", "data", "--backbone", WEIGHTS)
COMMAND = [sys.executable, "-m", "cinemae", *MAKE, "--threads", "1", "--no-tiers"]
STEPS = ("audit", "extract", "fit", "evaluate", "export", "report")


def add(root: Path, generator: str, split: str, count: int, first: int = 0) -> None:
    """`count` more images of each class of a source, in a GenImage tree."""
    for label, name in enumerate(("nature", "ai")):
        folder = root / generator / split / name
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            seed = 1000 * sum(map(ord, generator)) + 100 * len(split) + i
            render(label, seed, (80, 72)).save(folder / f"{i}.png")


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


def make(place: Path, *more: str) -> tuple[str, str]:
    """The command to its end: what it printed on stdout and on stderr."""
    done = subprocess.run([*COMMAND, *more], cwd=place, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def killed_at(place: Path, line: str) -> list[str]:
    """The command, killed with SIGKILL when it has printed `line` on stderr; all lines until then."""
    lines = []
    with subprocess.Popen(COMMAND, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for found in process.stderr:
            lines.append(found.strip())
            if lines[-1] == line:
                process.kill()
                return lines
    pytest.fail(f"never printed {line}:\n" + "\n".join(lines))


def cached_rows(place: Path) -> int:
    return sum(len(read_rows(shard)) for shard in (place / "runs" / "cache").glob("*/*.safetensors"))


def done_before(lines: list[str]) -> list[str]:
    return [line.split()[1].rstrip(":") for line in lines if line.endswith(": done before")]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_in_every_step_it_goes_on_and_more_data_costs_only_the_new(place):
    for number, name in enumerate(STEPS):
        lines = killed_at(place, f"{number + 1}/6 {name}")
        assert done_before(lines) == [done for done in STEPS[: max(0, number - 1)] if done != "extract"]
        assert not (place / "models" / "cinemae.md").exists()
    (place / "models" / "cinemae.onnx").write_bytes(b"damaged")
    out, err = make(place)
    assert done_before(err.splitlines()) == ["audit", "fit", "evaluate"]
    assert "0 images computed, 184 cached before, 0 skipped" in err
    assert out.endswith("next: cinemae run PHOTOS --engine models/cinemae.onnx\n")

    engine, card = place / "models" / "cinemae.onnx", (place / "models" / "cinemae.md").read_text("utf-8")
    made = read_manifest(engine)
    n_trained = made.training.n_ai + made.training.n_real
    for text in (
        "license: cc-by-nc-4.0", "at most 5 % of the real images of a source get this; 1 new source in 3 may exceed",
        "### Likelihood ratio", "| gen_a | train | 40 | 40 | 80 |", "**Warning.** A classifier that sees only",
        f"SHA-256 {made.backbone.sha256}", "--engine 'models/cinemae.onnx'",
    ):
        assert text in card
    assert re.search(r"\| gen_b \* \| val \|.* \d\.\d+ \[\d\.\d+, \d\.\d+\]", card), "figures with intervals"
    page = (place / "models" / "cinemae.html").read_text("utf-8")
    assert page.count("data/gen_b/val/ai") >= TEST
    with Detector.load(engine) as detector:
        assert detector.detect(place / "data" / "gen_a" / "val" / "ai" / "0.png").verdict != "real"

    _, err = make(place)
    assert done_before(err.splitlines()) == ["audit", "fit", "evaluate", "export", "report"]

    add(place / "data", "gen_b", "train", 2, first=TRAIN)
    (place / "data" / "gen_b" / "val" / "ai" / "0.png").rename(place / "data" / "gen_b" / "val" / "ai" / "new.png")
    _, err = make(place)
    assert done_before(err.splitlines()) == []
    assert "0 images computed, 188 cached before" in err, "the new are those measured first"
    assert cached_rows(place) == 184 + 4 + 1, "nothing but the new, and a copy for the image of another name"
    assert read_manifest(engine).training.n_ai + read_manifest(engine).training.n_real > n_trained


@pytest.mark.slow
def test_another_precision_needs_another_name_and_fp16_has_its_cost_in_a_report(place):
    make(place, "--fp16", "--out", "models/half.onnx")
    assert read_manifest(place / "models" / "half.onnx").precision == "fp16"
    assert "fp16 beside fp32" in (place / "models" / "half.report.md").read_text("utf-8")
    other = [*COMMAND, "--out", "models/half.onnx"]
    again = subprocess.run(other, cwd=place, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "models/half.onnx holds a fp16 engine: name another file with --out" in again.stderr


@pytest.mark.slow
def test_a_table_as_it_is_published_is_made_where_it_lies(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the data extra")
    from published_sets import Picture, open_fake

    def pictures(count: int, first: int) -> list[Picture]:
        names = (("Real", "COCO"), ("flux", "sdxl"))
        found = []
        for i in range(count):
            label, which = i // 2 % 2, i % 2
            data = encoded(render(label, 1000 * first + i, (80, 72)))
            found.append(Picture(data, label, names[label][which]))
        return found

    for name, data in open_fake([*pictures(160, 0), *pictures(160, 1)], group=10).items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(data)
    weights(tmp_path)
    out, _ = make(tmp_path, "--tiers")
    assert out.endswith("next: cinemae run PHOTOS --engine models/cinemae.onnx\n")
    assert read_manifest(tmp_path / "models" / "cinemae.onnx").training.generators == ("COCO", "Real", "flux", "sdxl")
    calibration = read_manifest(tmp_path / "models" / "cinemae.onnx").calibration
    assert {"flux", "flux, 768 px, JPEG 60", "flux, 512 px, JPEG 40"} < {one.source for one in calibration.sources}
    assert calibration.lowest_quality == 40
    scored = (tmp_path / "models" / "cinemae" / "scores.jsonl").read_text("utf-8").splitlines()
    assert len(scored) == SHOWN
    assert {json.loads(line)["status"] for line in scored} == {"ok"}


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
    assert "all real images of the calibration are of a: no rate is promised for others" in warnings
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
    assert "warning: all AI images of the calibration are of gen_a: no rate is promised for others" in warned
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
