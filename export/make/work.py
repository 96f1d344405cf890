"""What each step of `cinemae make` does: the work of `cinemae train` and `cinemae export`, with the inputs it rests on.

audit, fit, evaluate, export and report are done again where their inputs changed; extract always looks at the bytes of
all images, and computes those that the cache lacks.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from ...runtime.core.errors import ImageError
from ...runtime.core.files import atomic_path, file_sha256, write_text
from ...runtime.core.progress import step
from ...runtime.engines.file.header import read_manifest
from ...runtime.scan.options import ScanOptions
from ...runtime.scan.scan import scan
from ...runtime.scoring.options import ScoringOptions
from ...train.audit.audit import audit
from ...train.calibration.scores import Scores
from ...train.cli.evaluate import EvalOptions, evaluated
from ...train.cli.extract import ExtractOptions, extracted
from ...train.cli.fit import FitOptions, fitted
from ...train.cli.shared import Forward
from ...train.data.sample import Sample
from ...train.data.samples import thin
from ...train.evaluation.verdicts import VerdictCounts, broken_promises, promise_warnings
from ...train.features.sample_list import SAMPLES_FILE
from ...train.fitting.checkpoint_folder import EVAL_FOLDER, HEAD_FILE, MANIFEST_FILE, SCORES_FILE
from ...train.fitting.fit_config import FitConfig
from ..export import export_request, say
from ..request import Request
from .options import MakeOptions
from .steps import Steps, title

NAMES = ("real", "ai")
"""Of the classes, by label."""
AUDITED = 500
"""Files that the audit reads of each source, split and class."""


class Work:
    """The steps, in the order of the methods.

    Args:
        options: of the command.
        config: the fit.
        forward: resources.
    """

    def __init__(self, options: MakeOptions, config: FitConfig, forward: Forward) -> None:
        self.options, self.config, self.forward = options, config, forward
        self.steps = Steps(options.work / "steps.json")
        self.cache = Path()

    def audit(self, samples: Sequence[Sample]) -> None:
        """Audit the data."""
        out = self.options.work / "audit"

        def work() -> Iterable[Path]:
            found = audit(samples, limit=AUDITED, workers=self.forward.workers, quiet=self.forward.quiet)
            found.write(out)
            for warning in found.warnings:
                say(f"warning: {warning}")
            return [out / "audit.json", out / "counts.md"]

        read = [(*sample, _content(sample)) for sample in thin(samples, AUDITED)]
        self.steps.run("audit", [Counter(map(str, (sample.cell for sample in samples))), read], work)

    def extract(self, samples: Sequence[Sample], options: ExtractOptions) -> tuple[Sample, ...]:
        """Extract; returns the readable samples with their content."""
        say(title("extract"))
        with step(title("extract")):
            report = extracted(samples, options, self.forward)
        say(f"{report.computed:,} images computed, {report.reused + report.copied:,} cached before, "
            f"{len(report.skipped):,} skipped")
        self.cache = report.folder
        return report.samples

    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit and calibrate the head."""
        options, train = self.options, [sample for sample in samples if sample.split == self.config.split]
        fit = FitOptions(cache=self.cache, samples=self.cache / SAMPLES_FILE, out=options.checkpoint,
                         name=options.out.stem)
        head, scores = (options.checkpoint / name for name in (HEAD_FILE, SCORES_FILE))
        self._run("fit", [asdict(fit), asdict(self.config), sorted(train)], [head, scores],
                  lambda: fitted(fit, self.config, self.forward.quiet))

    def evaluate(self, samples: Sequence[Sample]) -> None:
        """Evaluate on what was not trained on."""
        folder, test = self.options.checkpoint, [s for s in samples if s.split != self.config.split]
        options = EvalOptions(checkpoint=folder, cache=self.options.cache, backbone=self.options.backbone)
        files = [folder / EVAL_FOLDER / "eval.json", folder / EVAL_FOLDER / "eval.md", folder / MANIFEST_FILE]
        self._run("evaluate", [file_sha256(folder / HEAD_FILE), sorted(test)], files,
                  lambda: evaluated(folder, test, None, options, self.forward))

    def export(self, shown: Sequence[Sample]) -> None:
        """Export the engine and compare it with PyTorch; of float16, measure the cost on the images `shown`."""
        options, out, listed = self.options, self.options.out, self.options.work / "shown.jsonl"
        rows = ({"path": s.path, "label": NAMES[s.label], "generator": s.generator, "split": s.split} for s in shown)
        write_text(listed, "".join(f"{json.dumps(row)}\n" for row in rows))
        request = Request(
            source=options.checkpoint, out=out.parent, name=out.stem, backbone=options.backbone, fp16=options.fp16,
            licence=options.licence, report=str(listed) if options.fp16 else None,
        )

        def work() -> Iterable[Path]:
            export_request(request)
            return [out, out.with_name(f"{out.name}.data"), out.with_suffix(".report.md")]

        made_of = [file_sha256(options.checkpoint / name) for name in (MANIFEST_FILE, HEAD_FILE)]
        self.steps.run("export", [made_of, options.fp16, options.licence, shown if options.fp16 else ()], work)

    def report(self, shown: Sequence[Sample]) -> Path:
        """Score the images `shown` with the engine into a page for people; returns the page."""
        out, page = self.options.out, self.options.out.with_suffix(".html")
        scores = self.options.work / "scores.jsonl"
        labels = {_file(sample, self.options.work / "shown"): NAMES[sample.label] for sample in shown}
        names = io.BytesIO(b"".join(os.fsencode(file) + b"\0" for file in labels))
        options = ScanOptions(inputs=("-",), null=True, scoring=ScoringOptions(engine=out), out=scores, report=page,
                              overwrite=True, quiet=self.forward.quiet)

        def work() -> Iterable[Path]:
            scan(options, names, labels)
            return [page, scores]

        self.steps.run("report", [file_sha256(out), shown], work)
        return page

    def warnings(self) -> list[str]:
        """What the engine cannot promise, and what its evaluation has refuted."""
        calibration = read_manifest(self.options.out).calibration
        found = json.loads((self.options.checkpoint / EVAL_FOLDER / "eval.json").read_text("utf-8"))
        counts = (VerdictCounts(**row) for row in found["verdicts"])
        scores = Scores.load(self.options.checkpoint / SCORES_FILE)
        return [*promise_warnings(calibration, scores), *broken_promises(counts, calibration)]

    def _run(self, name: str, inputs: object, files: Sequence[Path], work: Callable[[], str]) -> None:
        """Run a step of `cinemae train`, and show its result without the next command, which `make` runs itself."""

        def shown() -> Iterable[Path]:
            say(work().rpartition("\nnext: ")[0])
            return files

        self.steps.run(name, inputs, shown)


def _content(sample: Sample) -> str:
    try:
        return hashlib.sha256(sample.read()).hexdigest()
    except ImageError:
        return ""


def _file(sample: Sample, folder: Path) -> str:
    """The image as a file: its own, or a copy in `folder` of the bytes that lie in a row of a larger file."""
    if os.path.isfile(sample.path):
        return sample.path
    path = folder / sample.content[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(sample.read())
    return str(path)
