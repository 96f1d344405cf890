"""Load test of cinemae-serve on loopback: latency, throughput against the engine alone, and behaviour at saturation.

    python benchmarks/serve_load.py IMAGES [--engine FILE] [--seconds 12] [--rounds 4] [--out benchmarks/serve.md]

Every answer is compared with the score of a local run. Server and client share the machine; no request leaves it. Each
load is measured in rounds, and in each round the engine alone runs first, so that other work on the machine meets both.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scoring.detector import Detector

LOGIT_TOLERANCE = 1e-3
"""Other batch sizes, other summation order; the parity bound of the exports."""
QUEUE = 32
IMPATIENT = 128
"""Clients of the saturation run: four times the queue."""


@dataclass
class Outcome:
    """Answers of one run: seconds of the good ones, counts of each status, wrong answers, and failed connections."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    elapsed: float = 0.0
    alone: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def add(self, other: Outcome, alone: float) -> None:
        """One round more. alone: images a second of the engine by itself in the same round."""
        self.seconds += other.seconds
        self.statuses += other.statuses
        self.broken += other.broken
        self.wrong += other.wrong
        self.elapsed += other.elapsed
        self.alone.append(alone)
        self.shares.append(len(other.seconds) / other.elapsed / alone)

    def row(self, name: str) -> str:
        """A Markdown row."""
        p50, p95, p99 = (np.percentile(self.seconds, [50, 95, 99]) * 1000) if self.seconds else (float("nan"),) * 3
        answers = ", ".join(f"{count:,} x {status}" for status, count in sorted(self.statuses.items()))
        rate = len(self.seconds) / self.elapsed
        bad = self.wrong + sum(self.broken.values())
        share = f"{np.median(self.alone):.1f} | {np.median(self.shares):.0%}"
        return f"| {name} | {rate:.1f} | {share} | {p50:.0f} | {p95:.0f} | {p99:.0f} | {answers} | {bad} |"


def alone(detector: Detector, data: list[bytes], batch: int, seconds: float) -> float:
    """Images a second of the engine alone, on decoded images."""
    prepared = [detector.prepare(item) for item in data[:batch]]
    detector.score(prepared)
    count, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        detector.score(prepared)
        count += batch
    return count / (time.monotonic() - start)


async def load(
    base: str, data: list[bytes], logits: list[float], clients: int, seconds: float, patient: bool
) -> Outcome:
    """`clients` ask one image after the other until the time is over. Patient ones wait after a 429 as told."""
    outcome = Outcome()
    until = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=base, timeout=120, limits=limits) as client:

        async def one(number: int) -> None:
            turn = number
            while time.monotonic() < until:
                index = turn % len(data)
                turn += clients
                start = time.monotonic()
                try:
                    answer = await client.post("/v1/detect", content=data[index])
                except httpx.HTTPError as error:
                    outcome.broken[type(error).__name__] += 1
                    continue
                outcome.statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    outcome.seconds.append(time.monotonic() - start)
                    outcome.wrong += abs(answer.json()["records"][0]["logit"] - logits[index]) > LOGIT_TOLERANCE
                elif answer.status_code == 429:
                    outcome.wrong += int(answer.headers.get("retry-after", "0")) < 1
                    await asyncio.sleep(float(answer.headers["retry-after"]) if patient else 0.05)

        start = time.monotonic()
        await asyncio.gather(*(one(number) for number in range(clients)))
        outcome.elapsed = time.monotonic() - start
    return outcome


def stop_under_load(process: subprocess.Popen[str], base: str, data: list[bytes]) -> str:
    """SIGTERM while requests are in flight; what became of them."""

    async def run() -> Counter[str]:
        found: Counter[str] = Counter()
        async with httpx.AsyncClient(base_url=base, timeout=120) as client:
            tasks = [asyncio.create_task(client.post("/v1/detect", content=data[i % len(data)])) for i in range(16)]
            await asyncio.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                found[type(result).__name__ if isinstance(result, BaseException) else str(result.status_code)] += 1
        return found

    answers = asyncio.run(run())
    code = process.wait(60)
    listed = ", ".join(f"{count} x {name}" for name, count in answers.items())
    return f"SIGTERM with 16 requests in flight: {listed}; exit {code}."


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", help="a folder of images")
    parser.add_argument("--engine")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each load, all rounds together")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    busy = os.getloadavg()[1]
    files = [item.name for item in Inputs([options.images])][:40]
    data = [Path(path).read_bytes() for path in files]
    detector = Detector.load(options.engine, device="cpu")
    records = [detector.detect(item) for item in data]
    data = [item for item, record in zip(data, records, strict=True) if record.status == "ok"]
    logits = [record.logit for record in records if record.logit is not None]
    slice_seconds = options.seconds / options.rounds

    command = [sys.executable, "-m", "cinemae", "serve", "--port", "0", "--device", "cpu"]
    command += ["--max-queue", str(QUEUE), "--max-images", str(QUEUE)]
    command += ["--engine", options.engine] if options.engine else []
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+?(?=/\s)", line)
        if found is None:
            sys.exit(f"the server did not start: {line}{process.stderr.read()}")
        base = found[0]

        def measure(name: str, clients: int, patient: bool, batch: int) -> str:
            total = Outcome()
            for _ in range(options.rounds):
                reference = alone(detector, data, batch, slice_seconds / 2)
                total.add(asyncio.run(load(base, data, logits, clients, slice_seconds, patient)), reference)
            print(total.row(name), dict(total.broken) or "", file=sys.stderr)
            return total.row(name)

        rows = [
            measure("1 client", 1, True, 1),
            measure("4 clients", 4, True, 4),
            measure("16 clients", 16, True, 8),
            measure(f"{IMPATIENT} impatient clients, queue of {QUEUE}", IMPATIENT, False, 8),
            measure("1 client afterwards", 1, True, 1),
        ]
        stopped = stop_under_load(process, base, data)
    finally:
        process.kill()
        process.wait()

    named = f" --engine {options.engine}" if options.engine else ""
    root = os.environ.get("CINEMAE_DATA", "")
    images = options.images.replace(root, "$CINEMAE_DATA") if root else options.images
    kib = np.mean([len(item) for item in data]) / 1024
    text = f"""# Load test of the server

`python benchmarks/serve_load.py {images}{named} --seconds {options.seconds:g} --rounds {options.rounds}`

Engine `{detector.run.engine}` on {os.cpu_count()} CPUs ({platform.machine()}), which server and clients share;
{len(data)} images of {kib:.0f} KiB on average, one a request, on loopback. "Alone" is the engine without server
and decoding, on batches of 1 (1 client), 4 and 8, in the same rounds; shares are medians of {options.rounds} rounds.
Load average of the machine before the test: {busy:.1f}. Above about 1, other work shares the CPUs: absolute figures are
then too low, and shares scatter.

| load | images/s | alone | share | p50 ms | p95 ms | p99 ms | answers | wrong or broken |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

Wrong: a logit further than {LOGIT_TOLERANCE:g} from the local run's, or a 429 without Retry-After. Percentiles are of
answers with scores. Impatient clients ask again 50 ms after a 429.
{stopped}
"""
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
