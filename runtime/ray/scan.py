"""`cinemae ray`: list the work units, score them in a pool of actors, write one shard for each; resumable."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, BinaryIO

from ..core.errors import CinemaeError, UsageError
from ..core.progress import Progress
from ..engines.load import read_engine_manifest
from ..scan.tally import Tally
from ..scoring.verdict import run_of
from .actor import ScoreUnits
from .cluster import cluster, explained, on_every_node, room, uses_gpu
from .options import RayOptions
from .shards import count_shard, shard_name
from .storage import Folder, is_url
from .work_units import Unit, digest, list_units

UNITS, SETTINGS, SUMMARY = "plan.jsonl", "run.json", "summary.json"
"""Files in the output folder beside the shards: the work units, the settings of the run, the final counts."""


def scan_on_ray(options: RayOptions, stdin: BinaryIO | None = None) -> int:
    """Score all inputs on a Ray cluster; the input `-` reads paths from `stdin`. Returns the exit code.

    Raises:
        CinemaeError: the arguments are wrong, the engine fails, the output cannot be written or the connection to the
            cluster is lost. Finished shards stay, and `--resume` continues the run.
    """
    manifest = read_engine_manifest(options.scoring.engine)
    label, folder = manifest.label, Folder(options.out)
    run = {name: value for name, value in asdict(run_of(manifest, options.scoring)).items() if name != "cinemae"}
    named = {name: getattr(options, name) for name in ("format", "column", "allow_url")}
    settings = json.loads(json.dumps({"run": run, "inputs": list(options.inputs), **named}))  # as they are read back
    if manifest.demonstration and not options.quiet:
        print(f"note: {label}: its verdicts are no evidence; name a real engine with --engine FILE", file=sys.stderr)
    start = time.monotonic()
    with cluster(options.address):
        actors = options.actors or room(options.scoring.device, options.threads)
        units = _stored_units(folder, settings) if options.resume else None
        if units is None:
            units = _new_units(folder, settings, options, actors, stdin)
        tally = Tally()
        left = _left_over(folder, units, options.format, tally)
        tally.kept = tally.total
        with Progress("inputs", done=tally.kept, quiet=options.quiet, closing=False) as progress:
            for scored in _score(left, options, label, min(actors, max(1, len(left)))):
                tally.merge(scored)
                progress.advance(scored.total)
    summary = {"records": tally.total, **tally.to_dict(), "shards": len(units), "engine": label}
    folder.publish_lines(SUMMARY, iter([json.dumps(summary)]))
    if not options.quiet:
        print(tally.summary(time.monotonic() - start), file=sys.stderr)
    return tally.exit_code(options.fail_on_ai, options.fail_on_declared)


def _new_units(
    folder: Folder, settings: dict[str, Any], options: RayOptions, actors: int, stdin: BinaryIO | None
) -> list[Unit]:
    """List the work units of a new run and write them, with the settings, into the output folder.

    Raises:
        UsageError: the folder holds an earlier run, or there is nothing to score.
    """
    if UNITS in folder.names():
        raise UsageError(f"{folder.name}: holds an earlier run; give --resume to continue it, or another --out")
    units = list_units(options, actors, stdin)
    if not units and not options.allow_empty:
        raise UsageError("the inputs hold no image to score; --allow-empty makes that a success")
    folder.publish_lines(UNITS, (unit.to_json() for unit in units))
    # Written last: the settings mark the list of work units as complete. The key "plan" holds its hash.
    folder.publish_lines(SETTINGS, iter([json.dumps({**settings, "plan": digest(units)})]))
    return units


def _stored_units(folder: Folder, settings: dict[str, Any]) -> list[Unit] | None:
    """The work units of the earlier run in `folder`; None if there is no earlier run.

    Raises:
        UsageError: the earlier run had other arguments or another engine, its list of work units was edited, or it
            ended before the list was complete.
    """
    names = folder.names()
    if SETTINGS not in names:
        if UNITS in names:
            raise UsageError(
                f"{folder.name}: an earlier run did not complete its work units; delete the folder and run again"
            )
        return None
    with folder.read(SETTINGS) as file:
        stored = json.loads(file.read())
    with folder.read(UNITS) as file:
        units = [Unit.from_json(line) for line in file]
    different = [name for name, value in settings.items() if stored.get(name) != value]
    if different or stored.get("plan") != digest(units):
        found = ", ".join(different) or f"work units ({UNITS})"
        fix = "repeat its arguments or use another --out"
        raise UsageError(f"{folder.name}: the earlier run differs in {found}; {fix}")
    return units


def _left_over(folder: Folder, units: Sequence[Unit], format_name: str, tally: Tally) -> list[Unit]:
    """The work units that have no shard yet; the records of finished shards are counted in `tally`."""
    names = folder.names()
    left = []
    for unit in units:
        if shard_name(unit.index, format_name) in names:
            tally.merge(count_shard(folder, unit.index, format_name))
        else:
            left.append(unit)
    return left


def _score(units: Sequence[Unit], options: RayOptions, label: str, actors: int) -> Iterator[Tally]:
    """Yield the counts of each work unit when it is done, in any order.

    Ray restarts actors that died and repeats their work units.

    Raises:
        CinemaeError: an actor raised it, or the cluster failed.
    """
    if not units:
        return
    import ray
    from ray.exceptions import RayError

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    out = options.out if is_url(options.out) else os.path.abspath(options.out)
    scoring = replace(options.scoring, engine=on_every_node(options.scoring.engine), threads=options.threads)
    work = ray.data.from_items([{"unit": unit.to_json()} for unit in units], override_num_blocks=len(units))
    scored = work.map_batches(
        ScoreUnits,
        fn_constructor_args=(replace(options, out=out, scoring=scoring), os.getcwd(), label),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=options.threads,
        num_gpus=1 if uses_gpu(scoring.device) else 0,
    )
    try:
        for row in scored.iter_rows():
            yield Tally.from_dict(row)
    except CinemaeError:
        raise
    except (RayError, RuntimeError) as error:
        raise explained(error, "--resume continues the run") from None
