"""`cinemae-run --ray`: plan, hand the units to an actor pool, and know at any time which shards are done."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, BinaryIO

from ..engines.load import read_engine_manifest
from ..errors import CinemaeError, UsageError
from ..progress import Progress
from ..records import engine_label
from ..scan.tally import Tally
from ..verdict import Decision
from .actor import ActorOptions, ScoreUnits
from .cluster import cluster, explained, room, uses_gpu
from .options import RayOptions
from .shards import count_shard, shard_name
from .storage import Folder, is_url
from .work_units import Unit, digest, make_plan

PLAN, SETTINGS, SUMMARY = "plan.jsonl", "run.json", "summary.json"
LAYOUT = 1


def scan_on_ray(options: RayOptions, stdin: BinaryIO | None = None) -> int:
    """Score everything and return the exit code, as a local run does.

    Raises:
        CinemaeError: before the first record for whatever is wrong with the arguments; later when the engine fails,
            the output cannot be written or the cluster is lost. What is done stays, and `--resume` continues.
    """
    format_name = options.format or "jsonl"
    manifest = read_engine_manifest(options.engine)
    label, decision = engine_label(manifest), Decision.of(manifest.calibration, options.threshold)
    folder = Folder(options.out)
    if manifest.demonstration and not options.quiet:
        print(f"note: {label}: its verdicts are no evidence; name a real engine with --engine FILE", file=sys.stderr)
    start = time.monotonic()
    with cluster(options.address):
        actors = options.actors or room(options.device, options.threads or 1)
        settings = {
            "layout": LAYOUT, "engine": label, "decision": asdict(decision), "format": format_name,
            "inputs": list(options.inputs), "column": options.column,
        }  # fmt: skip
        units = _resumed_plan(folder, settings) if options.resume else None
        if units is None:
            units = _new_plan(folder, settings, options, actors, stdin)
        if not units and not options.quiet:
            print("warning: the inputs hold no images", file=sys.stderr)
        tally = Tally()
        left = _left_over(folder, units, format_name, tally)
        tally.kept = tally.total
        actor = ActorOptions(
            out=options.out if is_url(options.out) else os.path.abspath(options.out), folder=os.getcwd(),
            format=format_name, label=label, engine=None if options.engine is None else options.engine.resolve(),
            device=options.device, threads=options.threads or 1, threshold=options.threshold,
            batch_size=options.batch_size, workers=options.workers or options.threads or 1,
        )  # fmt: skip
        with Progress("inputs", done=tally.kept, quiet=options.quiet, closing=False) as progress:
            for scored in _score(left, actor, min(actors, max(1, len(left)))):
                tally.merge(scored)
                progress.advance(scored.total)
    summary = {"records": tally.total, **tally.to_dict(), "shards": len(units), "engine": label}
    folder.publish_lines(SUMMARY, iter([json.dumps(summary)]))
    if not options.quiet:
        print(tally.summary(time.monotonic() - start), file=sys.stderr)
    return tally.exit_code(options.fail_on_ai)


def _new_plan(
    folder: Folder, settings: dict[str, Any], options: RayOptions, actors: int, stdin: BinaryIO | None
) -> list[Unit]:
    if PLAN in folder.names():
        raise UsageError(f"{folder.name}: holds an earlier run; give --resume to continue it, or another --out")
    units = make_plan(options.inputs, actors, options.column, stdin, options.null)
    folder.publish_lines(PLAN, (unit.to_json() for unit in units))
    # The settings come last: with them the plan is complete.
    folder.publish_lines(SETTINGS, iter([json.dumps({**settings, "plan": digest(units)})]))
    return units


def _resumed_plan(folder: Folder, settings: dict[str, Any]) -> list[Unit] | None:
    """The plan of the earlier run in `folder`; None where there is none, or it died before its plan was complete.

    Raises:
        UsageError: made with other arguments or another engine, or edited.
    """
    names = folder.names()
    if SETTINGS not in names:
        if PLAN in names:
            raise UsageError(f"{folder.name}: an earlier run stopped while planning; delete the folder and start again")
        return None
    with folder.read(SETTINGS) as file:
        found = json.loads(file.read())
    with folder.read(PLAN) as file:
        units = [Unit.from_json(line) for line in file]
    different = [name for name, value in settings.items() if found.get(name) != value]
    if different or found.get("plan") != digest(units):
        what = ", ".join(different) or "plan"
        raise UsageError(f"{folder.name}: the earlier run differs in {what}; repeat its arguments or use another --out")
    return units


def _left_over(folder: Folder, units: Sequence[Unit], format_name: str, tally: Tally) -> list[Unit]:
    """Units without a shard; the records of the others are counted in `tally`."""
    names = folder.names()
    left = []
    for unit in units:
        if shard_name(unit.index, format_name) in names:
            tally.merge(count_shard(folder, unit.index, format_name))
        else:
            left.append(unit)
    return left


def _score(units: Sequence[Unit], actor: ActorOptions, actors: int) -> Iterator[Tally]:
    """Counts of each unit as it is done, in any order. Ray restarts dead actors and repeats their units.

    Raises:
        CinemaeError: what an actor raised, or the cluster's own failure.
    """
    if not units:
        return
    import ray
    from ray.exceptions import RayError

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    work = ray.data.from_items([{"unit": unit.to_json()} for unit in units], override_num_blocks=len(units))
    scored = work.map_batches(
        ScoreUnits,
        fn_constructor_args=(actor,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=actor.threads or 1,
        num_gpus=1 if uses_gpu(actor.device) else 0,
    )
    try:
        for row in scored.iter_rows():
            yield Tally.from_dict(row)
    except CinemaeError:
        raise
    except (RayError, RuntimeError) as error:
        raise explained(error, "--resume continues it") from None
