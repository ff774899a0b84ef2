"""`python -m tests.soak.flapping URL...`: connects to cameras again and again; prints what the process held meanwhile.

Each round adds a camera a URL, waits for its picture, and removes it; or, with `--flap`, keeps the cameras and waits
for so many connections, whose ends whoever started it must cause. It looks at itself in the same moment each time:
when the cameras of a round are gone, or at the first picture of a connection, where all cameras stand still.
"""

from __future__ import annotations

import argparse
import gc
import json
import threading
import time
from pathlib import Path
from random import Random

import psutil

from watchline.streams.address import Address
from watchline.streams.backoff import Backoff
from watchline.streams.camera import Camera, CameraEvent, CameraState
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connecting import open_connection
from watchline.streams.latest import Latest
from watchline.streams.ledger import Count, Ledger

PATIENCE_S = 30.0
SHARES = Path("/proc/self/smaps_rollup")


def main() -> None:
    """Prints a JSON object a sample: round, memory_bytes, threads, fds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--flap", type=int, default=0)
    arguments = parser.parse_args()
    latest = Latest()
    threading.Thread(target=_drain, args=(latest,), daemon=True).start()
    if arguments.flap:
        # A decoder takes a buffer more with each of its first pictures: cameras that went on would blur the figures.
        standing = threading.Barrier(len(arguments.urls) + 1)
        cameras = [_Read(latest, str(index), url, standing) for index, url in enumerate(arguments.urls)]
        for number in range(arguments.flap):
            standing.wait(PATIENCE_S)
            _sample(number)
            standing.wait(PATIENCE_S)
        return
    for number in range(arguments.rounds):
        cameras = [_Read(latest, f"{number}-{index}", url) for index, url in enumerate(arguments.urls)]
        for camera in cameras:
            camera.wait()
        for camera in cameras:
            camera.end()
        _sample(number)


class _Read:
    """One camera; with `standing` it waits there twice at the first picture of each connection."""

    def __init__(self, latest: Latest, name: str, url: str, standing: threading.Barrier | None = None) -> None:
        self._latest, self._name, self._ledger = latest, name, Ledger()
        self._standing = standing
        outlet = latest.add(name, self._ledger)
        settings = CameraSettings(name, Address.parse(url))
        soon = Backoff(Random(1), least_s=0.02, most_s=0.05)
        self._camera = Camera(settings, outlet, self._ledger, open_connection, self._listen, soon)
        self._camera.start()

    def wait(self) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not self._ledger[Count.CONNECTIONS]:
            if time.monotonic() > until_s:
                raise RuntimeError(f"{self._name}: no connection within {PATIENCE_S:g} s")
            time.sleep(0.005)

    def end(self) -> None:
        self._camera.stop()
        self._latest.remove(self._name)
        if not self._camera.join(10):
            raise RuntimeError(f"{self._name} does not end")
        settled = self._ledger[Count.DELIVERED] + sum(self._ledger.dropped().values())
        if settled != self._ledger[Count.RECEIVED]:
            raise RuntimeError(f"{self._name}: {self._ledger[Count.RECEIVED]} received, {settled} settled")

    def _listen(self, event: CameraEvent) -> None:
        if self._standing and event.state is CameraState.LIVE:
            for _ in range(2):
                self._standing.wait(PATIENCE_S)


def _drain(latest: Latest) -> None:
    while True:
        latest.take(1)


def _sample(number: int) -> None:
    gc.collect()
    me = psutil.Process()
    # Not the USS: pages of libraries count in it until another process on the machine uses the same library, and again
    # when that one ends. Of PyAV's and NumPy's that is 3 MB, which come and go though nothing happens here.
    words = SHARES.read_text().split()
    memory = sum(int(words[words.index(name) + 1]) for name in ("Anonymous:", "Swap:")) << 10
    told = {"round": number, "memory_bytes": memory, "threads": me.num_threads(), "fds": me.num_fds()}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
