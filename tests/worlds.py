"""Small synthetic scenes with known truth: who is behind every detection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.detections import Detections

PERSON, CAR = 0, 2


@dataclass(frozen=True, slots=True)
class Sight:
    """One object as a perfect detector sees it in one frame."""

    name: int
    x: float  # centre, pixels
    y: float
    width: float = 40
    height: float = 100
    score: float = 0.9
    class_id: int = PERSON


@dataclass(frozen=True, slots=True)
class World:
    """A scene: frame i is seen at `times[i]`; row j of its detections is object `truth[i][j]`."""

    times: tuple[float, ...]
    frames: tuple[Detections, ...]
    truth: tuple[NDArray[np.int64], ...] = field(repr=False)


def detect(sights: Sequence[Sight]) -> Detections:
    """Returns the detections of `sights`, in their order."""
    boxes = [(s.x - s.width / 2, s.y - s.height / 2, s.x + s.width / 2, s.y + s.height / 2) for s in sights]
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([s.score for s in sights], np.float32),
        np.array([s.class_id for s in sights], np.int32),
    )


def world(scenes: Sequence[Sequence[Sight]], fps: float = 30) -> World:
    """Returns the world in which frame i shows `scenes[i]`."""
    return World(
        times=tuple(i / fps for i in range(len(scenes))),
        frames=tuple(detect(sights) for sights in scenes),
        truth=tuple(np.array([s.name for s in sights], np.int64) for sights in scenes),
    )


def crossing(frames: int = 90) -> World:
    """Two people walk towards each other, one a little nearer to the camera, and pass."""
    return world([[Sight(1, 100 + 4 * i, 300), Sight(2, 460 - 4 * i, 330, 44, 110)] for i in range(frames)])


def occlusion(hidden_s: float, fps: float = 30) -> World:
    """One person walks, is not seen for `hidden_s`, and walks on."""
    first, hidden = round(fps), round(hidden_s * fps)
    walk = [[Sight(1, 100 + 40 / fps * i, 300)] for i in range(2 * first + hidden)]
    return world([sights if not first <= i < first + hidden else [] for i, sights in enumerate(walk)], fps)


def re_entry(away_s: float = 5, fps: float = 30) -> World:
    """One person leaves at the right; `away_s` later a person comes in at the left. One name: it is the same one."""
    out = [[Sight(1, 500 + 90 / fps * i, 300)] for i in range(round(fps))]
    back = [[Sight(1, 20 + 90 / fps * i, 300)] for i in range(round(fps))]
    return world([*out, *[[]] * round(away_s * fps), *back], fps)


def fading(faint_score: float, frames: int = 90) -> World:
    """One person walks, steps into the shade in the middle third and is seen there with `faint_score` only."""
    third = frames // 3
    return world(
        [[Sight(1, 100 + 3 * i, 300, score=faint_score if third <= i < 2 * third else 0.9)] for i in range(frames)]
    )


def person_and_car(frames: int = 60) -> World:
    """A person passes before a standing car of the same size in the picture; each misses every seventh frame."""
    scenes = []
    for i in range(frames):
        person, car = Sight(1, 200 + 2 * i, 300, 90, 90), Sight(2, 260, 300, 90, 90, class_id=CAR)
        scenes.append([car] if i % 7 == 3 else [person] if i % 7 == 5 else [person, car])
    return world(scenes)


def crowd(people: int, frames: int = 60, seed: int = 0, fps: float = 30) -> World:
    """`people` walk about a 1920 x 1080 picture; boxes jitter, 4 % are missed, 6 % score low, order is random."""
    rng = np.random.default_rng(seed)
    place, pace = rng.uniform((0, 0), (1920, 1080), (people, 2)), rng.normal(0, 1.5, (people, 2))
    height = 60 + 80 * place[:, 1] / 1080
    scenes = []
    for _ in range(frames):
        place = place + pace * 30 / fps
        at = place + rng.normal(0, 0.01, place.shape) * height[:, None]
        score = np.where(rng.random(people) < 0.06, rng.uniform(0.1, 0.5, people), rng.uniform(0.6, 1, people))
        shown = [i for i in rng.permutation(people) if rng.random() >= 0.04]
        scenes.append([Sight(i, at[i, 0], at[i, 1], 0.4 * height[i], height[i], score[i]) for i in shown])
    return world(scenes, fps)


def churn(frames: int, residents: int = 10, seed: int = 0, fps: float = 30) -> Iterator[tuple[Detections, float]]:
    """`residents` stroll for ever; passers-by stay a second or two; 4 % are missed.

    Yields a frame's detections and its time; nothing of it is kept.
    """
    rng = np.random.default_rng(seed)
    home, guests = rng.uniform((200, 200), (1700, 900), (residents, 2)), dict[int, Sight]()
    for i in range(frames):
        angle = i / fps / 3 + np.arange(residents)
        place = home + 60 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        sights = [Sight(k, *place[k]) for k in range(residents)]
        if i % 12 == 0:
            x, y, score = rng.uniform((0, 0, 0.2), (1900, 1000, 1))
            guests[i] = Sight(residents + i, x, y, score=score)
        guests = {at: guest for at, guest in guests.items() if i - at < 15 + at % 45}
        sights += [replace(guest, x=guest.x + 2 * (i - at)) for at, guest in guests.items()]
        yield detect([sight for sight in sights if rng.random() >= 0.04]), i / fps


def empty(frames: int = 10) -> World:
    """Nobody comes."""
    return world([[]] * frames)
