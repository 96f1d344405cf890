"""The content of a data set, and how well its classes can be told apart without looking at a picture."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator

from ...runtime.core.errors import UsageError
from ...runtime.core.files import write_text
from ..data.sample import Sample
from ..data.samples import thin
from ..data.skipped import Skipped
from ..reporting.tables import Cell, Table
from .file_facts import METADATA_FEATURES, metadata_features
from .probe import CHANCE, ProbeResult, cross_validate, linear, tree
from .survey import SurveyedFile, survey

ALL = "all"
LABELS = {0: "real", 1: "AI"}
SHOWN_DUPLICATES = 20
MARGIN = 0.05
"""A probe this far above chance, and by three standard errors at least, gives a warning."""


@dataclass(frozen=True)
class Probe:
    """A control classifier.

    Attributes:
        name: name in the table.
        sees: the features in plain words, for the warning.
        model: makes the classifier.
        features: the features of one file.
    """

    name: str
    sees: str
    model: Callable[[], BaseEstimator]
    features: Callable[[SurveyedFile], Sequence[float] | np.ndarray]


PROBES = (
    Probe("metadata", "only container, colour mode, width, height, JPEG quality, EXIF and ICC flags, and no pixel",
          tree, lambda file: metadata_features(file.facts)),
    Probe("file size", "only the bytes a pixel of the file",
          tree, lambda file: [file.facts.file_bytes / (file.facts.width * file.facts.height)]),
    Probe("JPEG traces", "only steps at the 8 x 8 JPEG grid and how many DCT coefficients are nearly zero",
          linear, lambda file: file.jpeg),
    Probe("spectrum", "only the radial power spectrum at the network's input size",
          linear, lambda file: file.spectrum),
)


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Attributes:
        tables: counts, containers, sizes, duplicates and probes.
        warnings: problems of the data set, in plain words.
        probes: cross-validated figures by the probe's name and the generator, or "all".
        skipped: path and reason of each unreadable file.
    """

    tables: tuple[Table, ...]
    warnings: tuple[str, ...]
    probes: dict[tuple[str, str], ProbeResult]
    skipped: tuple[tuple[str, str], ...]

    def terminal(self) -> str:
        """The tables as wide as the terminal."""
        return "\n".join(table.terminal() for table in self.tables)

    def markdown(self) -> str:
        """The report."""
        warnings = [f"- **Warning.** {text}" for text in self.warnings] or ["- Nothing to warn of."]
        return "\n".join(["## Audit", "", *warnings, "", *(table.markdown() for table in self.tables)])

    def write(self, folder: Path) -> None:
        """Write audit.md, audit.json, and every table in files of its own."""
        record = {"warnings": self.warnings, "tables": [t.record() for t in self.tables], "skipped": self.skipped}
        write_text(folder / "audit.json", json.dumps(record, indent=1) + "\n")
        write_text(folder / "audit.md", self.markdown())
        for table in self.tables:
            table.write(folder)


def audit(
    samples: Sequence[Sample], *, limit: int = 500, balanced: bool = False, workers: int = 2, quiet: bool = False
) -> Audit:
    """Audit a data set.

    Args:
        samples: all its images.
        limit: files read of each generator, split and class, evenly spaced; 0 reads all. Counts include all files.
        balanced: look at the files that the format-balanced protocol makes of them.
        workers: threads.
        quiet: show no progress.

    Raises:
        UsageError: no file is a readable image.
    """
    skipped: Skipped = []
    chosen = thin(samples, limit)
    files = survey(chosen, skipped, balanced=balanced, workers=workers, quiet=quiet)
    if not files:
        raise UsageError("not one of the files is a readable image; the log names each")
    probes = _run_probes(files)
    duplicates, leaks = _duplicates(files)
    tables = [_counts(samples, files), _containers(files), _sizes(files), duplicates, _probe_table(probes)]
    warnings = leaks + _probe_warnings(probes)
    if skipped:
        warnings.append(f"{len(skipped):,} of {len(chosen):,} files are not readable images; they are left out.")
    if len(chosen) < len(samples):
        read = f"Read for the other tables: {len(chosen):,} of {len(samples):,} files, evenly spaced."
        tables[0] = replace(tables[0], note=read)
    return Audit(tuple(tables), tuple(warnings), probes, tuple(skipped))


def _cells(files: Sequence[SurveyedFile]) -> dict[tuple[str, str, int], list[SurveyedFile]]:
    cells: dict[tuple[str, str, int], list[SurveyedFile]] = defaultdict(list)
    for one in files:
        cells[one.sample.cell].append(one)
    return dict(sorted(cells.items()))


def _shares(values: Sequence[str], most: int = 4) -> str:
    """The commonest values with their shares: "JPEG 98 %, PNG 2 %"."""
    counts = Counter(values).most_common()
    shown = [f"{value} {count / len(values):.0%}".replace("%", " %") for value, count in counts[:most]]
    return ", ".join(shown + ([f"{len(counts) - most} more"] if len(counts) > most else []))


def _counts(samples: Sequence[Sample], files: Sequence[SurveyedFile]) -> Table:
    counted = Counter(s.cell for s in samples)
    read = Counter(e.sample.cell for e in files)
    rows = [(g, s, counted[g, s, 1], counted[g, s, 0], read[g, s, 1] + read[g, s, 0])
            for g, s in sorted({(g, s) for g, s, _ in counted})]
    return Table("counts", "Images", ("generator", "split", "AI", "real", "read"), tuple(rows))


def _containers(files: Sequence[SurveyedFile]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (generator, split, label), cell in _cells(files).items():
        qualities = [e.facts.quality for e in cell if e.facts.quality is not None]
        rows.append((
            generator, split, LABELS[label], _shares([e.facts.container for e in cell]),
            _shares([e.facts.mode for e in cell]),
            f"{np.median(qualities):.0f} ({min(qualities)} to {max(qualities)})" if qualities else "–",
            _shares([e.facts.subsampling for e in cell if e.facts.subsampling]),
            sum(e.facts.exif for e in cell) / len(cell),
            float(np.median([e.facts.file_bytes / (e.facts.width * e.facts.height) for e in cell])),
        ))
    columns = ("generator", "split", "class", "container", "mode", "JPEG quality, median (range)", "chroma",
               "with EXIF", "bytes a pixel")
    return Table("containers", "Containers and JPEG quality", columns, tuple(rows), digits=2)


def _sizes(files: Sequence[SurveyedFile]) -> Table:
    edges = (0, 128, 256, 257, 512, 1024, 2048)
    names = ("< 128", "128–255", "256", "257–511", "512–1023", "1024–2047", "≥ 2048")
    rows: list[tuple[Cell, ...]] = []
    for (generator, split, label), cell in _cells(files).items():
        short = np.array([min(e.facts.width, e.facts.height) for e in cell])
        counts = np.bincount(np.searchsorted(edges, short, side="right") - 1, minlength=len(names))
        top = _shares([f"{e.facts.width}x{e.facts.height}" for e in cell], most=2)
        rows.append((generator, split, LABELS[label], *(int(count) for count in counts), top))
    columns = ("generator", "split", "class", *names, "commonest sizes")
    return Table("sizes", "Sizes: images by their short side in pixels", columns, tuple(rows))


def _duplicates(files: Sequence[SurveyedFile]) -> tuple[Table, list[str]]:
    """Files with equal bytes or equal pixels, and warnings for those that cross classes or splits."""
    groups: dict[str, list[SurveyedFile]] = defaultdict(list)
    for one in files:
        groups[one.facts.pixels].append(one)
    repeated = [group for group in groups.values() if len(group) > 1]

    def crossing(group: list[SurveyedFile]) -> str:
        if len({e.sample.label for e in group}) > 1:
            return "classes"
        if "train" in (splits := {e.sample.split for e in group}) and len(splits) > 1:
            return "train and test"
        return "generators" if len({e.sample.generator for e in group}) > 1 else "none"

    repeated.sort(key=lambda group: (crossing(group) == "none", crossing(group), group[0].sample.path))
    kinds = Counter(crossing(group) for group in repeated)
    rows: list[tuple[Cell, ...]] = []
    for group in repeated[:SHOWN_DUPLICATES]:
        same = "bytes" if len({e.facts.content for e in group}) == 1 else "pixels"
        rows.append((crossing(group), len(group), same, group[0].sample.path, group[1].sample.path))
    warnings = []
    if kinds["classes"]:
        warnings.append(f"{kinds['classes']} pictures are in both classes: their labels contradict. Remove them.")
    if kinds["train and test"]:
        warnings.append(f"{kinds['train and test']} pictures are in the training split and in another one: "
                        "figures on the other split are not of unseen images. Remove them from one of the splits.")
    total = ", ".join(f"{count} crossing {kind}" for kind, count in sorted(kinds.items()) if kind != "none")
    note = f"{len(repeated):,} pictures occur more than once{f' ({total})' if total else ''}."
    if len(repeated) > SHOWN_DUPLICATES:
        note += f" The first {SHOWN_DUPLICATES} are shown."
    columns = ("crosses", "files", "equal", "first", "second")
    title = "Duplicates, by hash of the bytes and of the pixels"
    return Table("duplicates", title, columns, tuple(rows), note), warnings


def _run_probes(files: Sequence[SurveyedFile]) -> dict[tuple[str, str], ProbeResult]:
    labels = np.array([e.sample.label for e in files])
    generators = np.array([e.sample.generator for e in files])
    _, groups = np.unique([e.facts.pixels for e in files], return_inverse=True)
    names = sorted(set(generators))
    results = {}
    for probe in PROBES:
        features = np.array([probe.features(e) for e in files], dtype=np.float64)
        results[probe.name, ALL] = cross_validate(probe.model(), features, labels, groups)
        for name in names if len(names) > 1 else []:
            own = generators == name
            results[probe.name, name] = cross_validate(probe.model(), features[own], labels[own], groups[own])
    return results


def _probe_table(probes: dict[tuple[str, str], ProbeResult]) -> Table:
    rows: list[tuple[Cell, ...]] = [(*name, r.n, r.balanced_accuracy, r.auc) for name, r in probes.items()]
    note = "Five-fold cross-validated. Balanced accuracy is the mean over both classes; chance is 0.5. Metadata: "
    note += ", ".join(METADATA_FEATURES) + "."
    columns = ("probe", "generator", "images", "balanced accuracy", "AUC")
    return Table("probes", "Telling the classes apart without looking at the picture", columns, tuple(rows), note)


def _probe_warnings(probes: dict[tuple[str, str], ProbeResult]) -> list[str]:
    warnings = []
    for probe in PROBES:
        result = probes[probe.name, ALL]
        if result.balanced_accuracy > CHANCE + max(MARGIN, 3 * result.error):
            warnings.append(
                f"A classifier that sees {probe.sees} has a balanced accuracy of {result.balanced_accuracy:.1%} "
                "(chance: 50 %). A detector trained on this data can cheat the same way."
            )
    if warnings:
        warnings.append(
            "On this data, only what a detector reaches beyond these probes is evidence that it understands pictures. "
            "Report the probes beside it, and use the format-balanced protocol (audit --balanced measures it)."
        )
    return warnings
