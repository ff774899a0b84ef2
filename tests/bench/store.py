"""How many sightings a second the store takes, and what erasing with its proof costs. `python -m tests.bench.store`.

What was stored is read again and compared before anything is printed.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tests.bench.table import table
from tests.store.conformance import same
from tests.store.made import make_crop, make_sighting
from watchline.pipeline.store.seam import Selection
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import SqliteStore, open_store
from watchline.pipeline.store.writer import StoreWriter

BAR: Final = 5000.0  # sightings a second
JPEG_BYTES: Final = 10_000
ERASED: Final = 100
_CHECKED: Final = 200
_COMMIT: Final = 100


@dataclass(frozen=True, slots=True)
class Cost:
    """What some work on sightings took.

    Attributes:
        sightings: how many.
        wall_s: seconds by the clock.
        cpu_s: seconds of the processor, all threads.
        commits_s: of each commit, seconds; none where they are not seen.
    """

    sightings: int
    wall_s: float
    cpu_s: float
    commits_s: tuple[float, ...] = ()


def add_in_batches(store: SqliteStore, sightings: Sequence[Sighting]) -> Cost:
    """Stores sightings a hundred at a time."""
    commits = []
    cpu, wall = time.process_time(), time.perf_counter()
    for start in range(0, len(sightings), _COMMIT):
        begun = time.perf_counter()
        store.add(sightings[start : start + _COMMIT])
        commits.append(time.perf_counter() - begun)
    return Cost(len(sightings), time.perf_counter() - wall, time.process_time() - cpu, tuple(commits))


def put_to_writer(store: SqliteStore, sightings: Sequence[Sighting]) -> Cost:
    """Stores sightings through the writer's thread, as cameras do, until the last is on the disk."""
    cpu, wall = time.process_time(), time.perf_counter()
    writer = StoreWriter(store)
    for sighting in sightings:
        assert writer.put(sighting, wait_s=60)
    assert writer.flush(60)
    cost = Cost(len(sightings), time.perf_counter() - wall, time.process_time() - cpu)
    status = writer.close(10)
    assert (status.stored, status.lost) == (len(sightings), 0), status
    return cost


def check(store: SqliteStore, sightings: Sequence[Sighting]) -> None:
    """Reads again what was stored."""
    assert store.count(Selection()) == len(sightings)
    for one in random.Random(1).sample(list(sightings), min(_CHECKED, len(sightings))):
        assert same(one, store.get(one.sighting_id)), f"{one.sighting_id} was not read as it was stored"


def measure(
    work: Callable[[SqliteStore, Sequence[Sighting]], Cost], sightings: Sequence[Sighting], folder: Path
) -> tuple[Cost, float, str]:
    """Returns the cost of storing, bytes of the file a sighting, and a line on erasing."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = open_store(Path(place) / "sightings.db")
        cost = work(store, sightings)
        check(store, sightings)
        begun = time.perf_counter()
        erased = store.erase(Selection(ids=tuple(one.sighting_id for one in sightings[:ERASED])))
        took_s = time.perf_counter() - begun
        assert len(erased.sightings) == min(ERASED, len(sightings))
        size = store.path.stat().st_size / len(sightings)
        store.close()
    searched = f"{erased.bytes_searched / 1e6:.0f} MB searched, {took_s:.1f} s in all"
    return cost, size, searched


def make(count: int, crops: int) -> list[Sighting]:
    """Returns sightings with a vector, a path, and so many pictures."""
    rng = np.random.default_rng(8)
    return [make_sighting(rng, crops=tuple(make_crop(rng, JPEG_BYTES) for _ in range(crops))) for _ in range(count)]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.store", description=__doc__)
    parser.add_argument("--sightings", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; the one for temporary files otherwise")
    arguments = parser.parse_args()
    rows, erasing = [], []
    for what, crops in (("vector", 0), ("vector, 3 pictures", 3)):
        sightings = make(arguments.sightings, crops)
        for how, work in (("commits of 100", add_in_batches), ("writer's thread", put_to_writer)):
            cost, size, searched = measure(work, sightings, arguments.folder)
            slowest = f"{1e3 * np.percentile(cost.commits_s, 99):.0f} ms" if cost.commits_s else ""
            rate, cpu_rate = cost.sightings / cost.wall_s, cost.sightings / cost.cpu_s
            figures = [f"{rate:,.0f}", f"{cpu_rate:,.0f}", f"{size / 1e3:.1f} kB", slowest]
            rows.append([what, how, *figures, "yes" if rate >= BAR else "by CPU" if cpu_rate >= BAR else "no"])
        erasing.append(f"erasing {ERASED} with their proof ({what}): {searched}")
    head = [
        "a sighting with",
        "stored by",
        "a second",
        "a CPU second",
        "in the file",
        "99 % of commits",
        f">= {BAR:,.0f}",
    ]
    print(f"{arguments.sightings:,} sightings, a vector of 512 float16 each, pictures of 10 kB; synchronous=FULL")
    print(table(head, rows, left=2))
    print("\n".join(erasing))


if __name__ == "__main__":
    main()
