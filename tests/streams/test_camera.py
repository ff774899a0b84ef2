"""One camera's life, with scripted connections: what no real server does on demand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest

from watchline.streams.address import Address
from watchline.streams.backoff import Backoff
from watchline.streams.camera import Camera, CameraEvent, CameraState
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connection import Arrival
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import Picture
from watchline.streams.latest import Latest
from watchline.streams.ledger import Count, Drop, Ledger
from watchline.streams.source import SourceInfo


def picture() -> Picture:
    return Picture.from_rgb(np.random.default_rng().integers(0, 255, (48, 64, 3), np.uint8))


class Scripted:
    """Gives what `arrivals` gives, each after a hundredth of a second."""

    info = SourceInfo("live", 64, 48, 100.0, None, None, "scripted")
    backend = "scripted"
    undecodable = 0

    def __init__(self, arrivals: Iterator[Arrival]) -> None:
        self._arrivals = arrivals

    def read(self) -> Arrival:
        time.sleep(0.01)
        arrival = next(self._arrivals, None)
        if arrival is None:
            raise CameraError(Reason.ENDED, "ended")
        return arrival

    def close(self) -> None:
        pass


class Life:
    """A camera whose connections come from a script."""

    def __init__(self, arrivals: Iterator[Arrival], url: str = "rtsp://127.0.0.1:9/x", **settings: float) -> None:
        self.events: list[CameraEvent] = []
        self.ledger = Ledger()
        latest = Latest()
        wanted = CameraSettings("cam", Address.parse(url), **{"fps": 0.0, **settings})  # type: ignore[arg-type]
        soon = Backoff(Random(1), least_s=0.05, most_s=0.1)
        outlet = latest.add("cam", self.ledger)
        self.camera = Camera(wanted, outlet, self.ledger, lambda _: Scripted(arrivals), self.events.append, soon)
        self._latest = latest

    def run(self, seconds: float) -> None:
        self.camera.start()
        time.sleep(seconds)
        self.camera.stop()
        assert self.camera.join(5)
        self._latest.close()
        assert self.ledger.in_flight == 0

    def reasons(self) -> list[Reason]:
        return [event.reason for event in self.events if event.reason]


def damaged_ones() -> Iterator[Arrival]:
    while True:
        yield Arrival(None, None, False, True, picture)


def test_a_camera_whose_pictures_are_all_damaged_is_corrupt_not_live() -> None:
    life = Life(damaged_ones(), open_timeout_s=0.3)
    life.run(1.0)
    assert set(life.reasons()) == {Reason.CORRUPT}
    assert CameraState.LIVE not in {event.state for event in life.events}
    assert life.ledger[Count.RECEIVED] == life.ledger.dropped()[Drop.DAMAGED] > 10


def test_a_defect_of_ours_is_told_counted_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    canary = "4nary".join(("c", ""))

    def broken() -> Picture:
        raise RuntimeError(f"cannot convert rtsp://admin:{canary}@cam/a")

    def arrivals() -> Iterator[Arrival]:
        for number in range(1000):
            yield Arrival(number / 100, None, False, False, broken if number % 10 == 5 else picture)

    life = Life(arrivals())
    life.run(1.0)
    assert Reason.INTERNAL in life.reasons()
    assert life.ledger[Count.DELIVERED] + sum(life.ledger.dropped().values()) == life.ledger[Count.RECEIVED] > 20
    assert life.ledger[Count.CONNECTIONS] > 1
    assert canary not in caplog.text + repr(life.events)


def test_a_camera_that_gives_one_picture_and_ends_is_not_hammered() -> None:
    def arrivals() -> Iterator[Arrival]:
        yield Arrival(0.0, None, True, False, picture)

    events: list[CameraEvent] = []
    ledger, latest = Ledger(), Latest()
    settings = CameraSettings("cam", Address.parse("rtsp://127.0.0.1:9/x"))
    outlet = latest.add("cam", ledger)
    camera = Camera(settings, outlet, ledger, lambda _: Scripted(arrivals()), events.append, Backoff(Random(1)))
    camera.start()
    time.sleep(3.5)
    camera.stop()
    assert camera.join(5)
    assert 2 <= ledger[Count.CONNECTIONS] <= 4


def test_the_memory_of_a_stopped_camera_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr("watchline.streams.camera.give_back_memory", lambda: given.append(1))
    life = Life(Arrival(number / 100, None, False, False, picture) for number in range(1000))
    life.run(0.5)
    assert not life.reasons()
    assert len(given) == 1
