"""Lives of a program that writes a journal and keeps ids, each ended by SIGKILL; run as a program by the tests.

Children are forked, so that a life costs milliseconds. The parent has no threads.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from tests.pipeline.live_outcomes import make_outcome
from watchline.pipeline.live.journal import Journal, JournalSettings
from watchline.pipeline.live.journal_shelf import Retention
from watchline.pipeline.live.keeping import Keeper
from watchline.pipeline.live.kept import Snapshot
from watchline.trackers.state import TrackerState

CAMERAS = ("a", "b", "c")
SETTINGS = JournalSettings(write_s=0.001, write_lines=8, file_bytes=40_000, retention=Retention(free_bytes=0))
_TRACKS = np.empty(0, [("track_id", np.int64)])


def live(folder: Path, frames: int, told: int) -> None:
    """Writes `frames` frames of each camera, each with a track of its own; says in pipe `told` when it has begun."""
    journal = Journal(folder, SETTINGS)
    keeper = Keeper(folder, lambda camera: journal.ended(camera).highest_id, save_s=0.01)
    ids = {camera: keeper.ids(camera) for camera in CAMERAS}
    for camera in CAMERAS:
        keeper.load(camera)
        keeper.follow(camera, lambda its=ids[camera]: state(its.upcoming))  # type: ignore[misc]
    takes = {camera: journal.outlet(camera) for camera in CAMERAS}
    os.write(told, b"x")
    for i in range(frames):
        for camera in CAMERAS:
            takes[camera](make_outcome(i, ids[camera].next(), camera=camera, at=time.time()))
        if i % 20 == 0:
            time.sleep(0.001)
    journal.close()
    keeper.close()


def state(upcoming: int) -> Snapshot:
    """What a tracker without tracks knows now."""
    return Snapshot(TrackerState("bytetrack", time.monotonic(), upcoming, _TRACKS), time.time())


def life(folder: Path, frames: int, kill_after_s: float | None) -> None:
    """Forks a life and ends it after `kill_after_s` of writing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            live(folder, frames, writing)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    wanted = 0 if kill_after_s is None else signal.SIGKILL
    assert status in (0, wanted), status


def read(folder: Path) -> dict[str, list[int]]:
    """The ids of each camera; fails where a line is not whole or a file has no head."""
    found: dict[str, list[int]] = {}
    for camera in CAMERAS:
        ids = found[camera] = []
        for path in (folder / "tracks" / camera).iterdir():
            lines = path.read_bytes().split(b"\n")
            assert lines.pop() == b"", f"{path} ends with a part of a line"
            records = [json.loads(line) for line in lines]
            assert records[0]["type"] == "file"
            ids += [t["track_id"] for r in records if r["type"] == "tracks" for t in r["tracks"]]
    return found


def main(folder: Path, rounds: int, seed: int) -> None:
    """Kills `rounds` lives, some in the middle of a line, then lives once to the end; prints what is there."""
    chance = random.Random(seed)
    for _ in range(rounds):
        life(folder, 1_000_000, chance.uniform(0.0, 0.15))
        for camera in CAMERAS:  # a half-written line, more often than the kernel leaves one
            paths = sorted((folder / "tracks" / camera).glob("*"), key=lambda path: path.stat().st_mtime)
            if paths and chance.random() < 0.5:
                with paths[-1].open("ab") as file:
                    file.write(b'{"type":"tracks","camera":"a","seq'[: chance.randint(1, 34)])
    life(folder, 10, None)
    found = read(folder)
    for camera, ids in found.items():
        assert len(ids) == len(set(ids)), f"{camera}: an id was given twice"
    left = [path.name for path in (folder / "state").iterdir() if path.suffix not in (".ids", ".tracks", ".part")]
    assert left == [], left
    print(json.dumps({camera: len(ids) for camera, ids in found.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
