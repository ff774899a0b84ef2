"""`python -m tests.soak.flapping URL...`: connects to cameras again and again; prints what the process held meanwhile.

Each round adds a camera a URL, waits for its picture, and removes it; or, with `--flap`, keeps the cameras and waits
for so many connections, whose ends whoever started it must cause.
"""

from __future__ import annotations

import argparse
import gc
import json
import threading
import time
from random import Random

import psutil

from watchline.streams.address import Address
from watchline.streams.backoff import Backoff
from watchline.streams.camera import Camera
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connecting import open_connection
from watchline.streams.latest import Latest
from watchline.streams.ledger import Count, Ledger


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
        cameras = [_Read(latest, str(index), url) for index, url in enumerate(arguments.urls)]
        for goal in range(1, arguments.flap + 1):
            for camera in cameras:
                camera.wait(goal)
            _sample(goal)
        return
    for number in range(arguments.rounds):
        cameras = [_Read(latest, f"{number}-{index}", url) for index, url in enumerate(arguments.urls)]
        for camera in cameras:
            camera.wait(1)
        for camera in cameras:
            camera.end()
        _sample(number)


class _Read:
    def __init__(self, latest: Latest, name: str, url: str) -> None:
        self._latest, self._name, self._ledger = latest, name, Ledger()
        outlet = latest.add(name, self._ledger)
        settings = CameraSettings(name, Address.parse(url))
        soon = Backoff(Random(1), least_s=0.02, most_s=0.05)
        self._camera = Camera(settings, outlet, self._ledger, open_connection, lambda _: None, soon)
        self._camera.start()

    def wait(self, connections: int) -> None:
        until_s = time.monotonic() + 30
        while self._ledger[Count.CONNECTIONS] < connections:
            if time.monotonic() > until_s:
                raise RuntimeError(f"{self._name}: no connection {connections} within 30 s")
            time.sleep(0.005)

    def end(self) -> None:
        self._camera.stop()
        self._latest.remove(self._name)
        if not self._camera.join(10):
            raise RuntimeError(f"{self._name} does not end")
        settled = self._ledger[Count.DELIVERED] + sum(self._ledger.dropped().values())
        if settled != self._ledger[Count.RECEIVED]:
            raise RuntimeError(f"{self._name}: {self._ledger[Count.RECEIVED]} received, {settled} settled")


def _drain(latest: Latest) -> None:
    while True:
        latest.take(1)


def _sample(number: int) -> None:
    gc.collect()
    me = psutil.Process()
    memory = me.memory_full_info().uss
    told = {"round": number, "memory_bytes": memory, "threads": me.num_threads(), "fds": me.num_fds()}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
