"""Whether the numbers that a daemon tells can be true: they add up, they never go back, and cameras advance."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

STALL_S: Final = 10.0  # within which a camera that nothing befalls is processed again, on a busy machine
MOST_IN_FLIGHT: Final = 16  # one waits, one a worker is under way, and some are between two counts

_CAMERA: Final = re.compile(r'camera="([^"]*)"')
_COUNTS: Final = ("_total", "_bucket", "_count")
_RECEIVED: Final = "watchline_frames_received_total"
_PROCESSED: Final = "watchline_frames_processed_total"
_DROPPED: Final = "watchline_frames_dropped_total"
_IN_FLIGHT: Final = "watchline_frames_in_flight"
_DEFECTS: Final = re.compile(  # losses that no fault excuses
    r'watchline_frames_dropped_total{.*reason="tracker"|watchline_journal_lost_total{reason="(queue_full|unfit)"'
)


def parse(page: str) -> dict[str, float]:
    """Returns every number of a page for Prometheus, by its series."""
    lines = (line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#"))
    return {series: float(value) for series, value in lines}


def frames(numbers: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Returns of each camera what became of its frames: received, processed, dropped, in_flight."""
    found: dict[str, dict[str, float]] = {}
    names = {_RECEIVED: "received", _PROCESSED: "processed", _DROPPED: "dropped", _IN_FLIGHT: "in_flight"}
    for series, value in numbers.items():
        what = names.get(series.partition("{")[0])
        if what:
            its = found.setdefault(_camera(series), dict.fromkeys(names.values(), 0.0))
            its[what] += value
    return found


class Counts:
    """Looks at one page after another; each look returns what is wrong, in sentences."""

    def __init__(self) -> None:
        self._before: dict[str, float] = {}
        self._of: dict[str, tuple[int, int]] = {}  # life and begin of each camera that `_before` is of
        self._life = 0
        self._moved: dict[str, tuple[float, float]] = {}  # frames processed, and when that last changed

    def look(self, page: str, now_s: float, life: int, begins: Mapping[str, int], excused: Sequence[str]) -> list[str]:
        """Looks at /metrics.

        Args:
            page: its text.
            now_s: monotonic seconds.
            life: of the daemon; counts begin anew with each.
            begins: how often each camera began to be read; its counts may begin anew with each.
            excused: cameras that need not advance now.
        """
        numbers = parse(page)
        told = frames(numbers)
        wrong = _sums(told)
        if life != self._life:
            self._life, self._before, self._moved = life, {}, {}
        wrong += [
            f"{series} went from {before:.17g} back to {numbers[series]:.17g}"
            for series, before in self._before.items()
            if series in numbers
            and numbers[series] < before
            and self._of.get(camera := _camera(series), (life, 0)) == (life, begins.get(camera, 0))
            and camera not in excused
        ]
        wrong += [
            f"{series} rose to {value:.17g}"
            for series, value in numbers.items()
            if _DEFECTS.match(series) and value > self._before.get(series, 0.0)
        ]
        self._before = {series: value for series, value in numbers.items() if _counts(series)}
        # A camera that may begin anew at any moment now is compared with nothing the next time.
        self._of = {name: (life, -1 if name in excused else begins.get(name, 0)) for name in told}
        return wrong + self._stalls(told, now_s, excused)

    def _stalls(self, told: Mapping[str, Mapping[str, float]], now_s: float, excused: Sequence[str]) -> list[str]:
        wrong = []
        for name, its in told.items():
            processed, since_s = self._moved.get(name, (-1.0, now_s))
            if its["processed"] != processed or name in excused:
                self._moved[name] = its["processed"], now_s
            elif now_s - since_s > STALL_S:
                wrong.append(f"{name}: no frame was processed for {now_s - since_s:.0f} s, though nothing befell it")
                self._moved[name] = its["processed"], now_s
        for name in self._moved.keys() - told.keys():
            del self._moved[name]
        return wrong


def check_cameras(cameras: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns what is wrong with the counts of /api/cameras."""
    return _sums(
        {
            camera["id"]: {
                "received": camera["received"],
                "processed": camera["processed"],
                "dropped": sum(camera["dropped"].values()),
                "in_flight": camera["in_flight"],
            }
            for camera in cameras
        }
    )


def check_sightings(told: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the counts of sightings of /api/cameras."""
    kept, refused = told["stored"] + told["waiting"], told["refused"]
    wrong = []
    if told["tracklets"] != kept + sum(refused.values()):
        wrong.append(f"sightings do not add up: {dict(told)}")
    # A disk that is full excuses others, these nothing does.
    wrong += [f"{refused[why]} sightings were refused: {why}" for why in ("unfit", "lost") if refused[why]]
    return wrong


def _sums(told: Mapping[str, Mapping[str, float]]) -> list[str]:
    wrong = []
    for name, its in told.items():
        if its["received"] != its["processed"] + its["dropped"] + its["in_flight"]:
            wrong.append(f"{name}: its frames do not add up: {dict(its)}")
        if not 0 <= its["in_flight"] <= MOST_IN_FLIGHT:
            wrong.append(f"{name}: {its['in_flight']:.0f} frames in flight")
    return wrong


def _counts(series: str) -> bool:
    return series.partition("{")[0].endswith(_COUNTS)


def _camera(series: str) -> str:
    found = _CAMERA.search(series)
    return found[1] if found else ""
