"""What the trackers are compared on: real sequences and synthetic crowds, all as boxes and scores by frame."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests import worlds
from tests.bench.peers_venv import ROOT
from watchline.trackers.evaluate import Scores, Tally, tally
from watchline.trackers.kalman import F64
from watchline.trackers.tracks import I64

Frame = tuple[F64, F64]  # boxes (N, 4) xyxy and scores (N,)
Row = tuple[I64, F64]  # ids (N,) and boxes (N, 4) xyxy of one frame
CROWDS: Final = (10, 50, 200, 500)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One sequence.

    Attributes:
        name: of the sequence; names of MOT17 are scored with its treatment of distractors.
        frames: detections, by frame.
        truth: the ground truth in MOTChallenge form; empty: not known.
    """

    name: str
    frames: tuple[Frame, ...]
    truth: str = ""

    @property
    def people(self) -> int:
        """How many walk in a synthetic crowd; 0: it is a recorded street."""
        kind, _, rest = self.name.partition("-")
        return int(rest.split("-")[0]) if kind in ("SYN", "crowd", "square") else 0

    @property
    def crowd(self) -> float:
        """Detections a frame, on average."""
        return float(np.mean([len(score) for _, score in self.frames]))

    def first(self, count: int) -> Scene:
        """Returns the scene up to its frame `count`."""
        lines = self.truth.splitlines(keepends=True)
        return replace(
            self,
            frames=self.frames[:count],
            truth="".join(line for line in lines if float(line.split(",", 1)[0]) <= count),
        )

    def tally(self, tracks: str) -> Tally:
        """Returns the counts behind the scores of `tracks`, a text in MOTChallenge form."""
        with tempfile.TemporaryDirectory() as folder:
            truth, found = Path(folder, "truth.txt"), Path(folder, "tracks.txt")
            truth.write_text(self.truth)
            found.write_text(tracks)
            return tally(self.name, truth, found)

    def scores(self, tracks: str) -> Scores:
        """Returns the scores of `tracks`, a text in MOTChallenge form."""
        return self.tally(tracks).scores()


def data_folder() -> Path | None:
    """Returns the folder of tracker inputs and truths; None: this machine has none."""
    data = Path(os.environ.get("WATCHLINE_TEST_DATA", ROOT.parent / "shared" / "data")) / "trackers"
    return data if (data / "inputs").is_dir() else None


def recorded(name: str) -> Scene | None:
    """Returns a sequence of the test data; None where it is missing."""
    data = data_folder()
    if data is None or not (data / "inputs" / f"{name}.txt").exists():
        return None
    table = np.loadtxt(data / "inputs" / f"{name}.txt", delimiter=",", ndmin=2)
    ends = np.searchsorted(table[:, 0], np.arange(1, table[-1, 0] + 2))
    truth = data / "gt" / f"{name}.txt"
    frames = tuple((table[i:j, 1:5].copy(), table[i:j, 5].copy()) for i, j in pairwise(ends))
    return Scene(name, frames, truth.read_text() if truth.exists() else "")


def crowd(people: int, frames: int, seed: int = 0) -> Scene:
    """Returns people who walk straight on through a 1920 x 1080 picture, and where they really are.

    The truth is the line through each one's detections: what a perfect detector would have seen, misses too.
    """
    scene = worlds.crowd(people, frames, seed)
    lines = []
    for person in range(people):
        at, boxes = _sights(scene, person)
        if len(at) < 2:
            continue
        middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).mean(axis=0)
        when = np.arange(at[0], at[-1] + 1)
        line = np.column_stack([np.polyval(np.polyfit(at, middle[:, axis], 1), when) for axis in (0, 1)])
        corners = np.column_stack([line - size / 2, line + size / 2])
        lines += [(frame + 1, person + 1, *box) for frame, box in zip(when, corners, strict=True)]
    found = tuple((frame.xyxy.astype(np.float64), frame.score.astype(np.float64)) for frame in scene.frames)
    truth = [(np.array([line[1]]), np.array([line[2:]])) for line in sorted(lines)]
    texts = [mot_lines(int(line[0]), row) for line, row in zip(sorted(lines), truth, strict=True)]
    return Scene(f"crowd-{people}", found, "".join(texts))


def _sights(scene: worlds.World, person: int) -> tuple[I64, F64]:
    """Returns the frames, from 0, in which `person` is detected, and the boxes."""
    rows = [(i, np.flatnonzero(names == person)) for i, names in enumerate(scene.truth)]
    seen = [(i, scene.frames[i].xyxy[row[0]]) for i, row in rows if len(row)]
    return np.array([i for i, _ in seen], np.int64), np.array([box for _, box in seen], np.float64).reshape(-1, 4)


def square(people: int, frames: int = 150, seed: int = 0) -> Scene:
    """Returns people who cross a square, 960 x 540 pixels, in gentle bends: who walks behind another is seen faintly.

    The covered part of a box decides: from 70 % on it is missed, from 40 % on its score is low. The truth goes on.
    """
    rng = np.random.default_rng(seed)
    start, aim = (rng.uniform((0, 130), (960, 540), (people, 2)) for _ in range(2))
    side = np.arange(people) % 4  # they come from the left, the right, the back and the front, and leave opposite
    for ends, turn in ((start, 0), (aim, 1)):
        ends[:, 0] = np.choose(side ^ turn, [0, 960, ends[:, 0], ends[:, 0]])
        ends[:, 1] = np.choose(side ^ turn, [ends[:, 1], ends[:, 1], 130, 540])
    begin, pace = rng.uniform(-0.5, 0.35, people), rng.uniform(0.9, 1.3, people)
    bend, phase = rng.normal(0, 30, people), rng.uniform(0, np.pi, people)
    along = (aim - start) / np.linalg.norm(aim - start, axis=1)[:, None]
    found, lines = [], []
    for frame in range(frames):
        way = (frame / frames - begin) * pace
        aside = (bend * np.sin(np.pi * way + phase))[:, None] * along[:, ::-1] * (-1, 1)
        foot = start + (aim - start) * way[:, None] + aside
        height = 50 + 0.13 * foot[:, 1]
        size = np.column_stack([0.4 * height, height])
        boxes = np.column_stack([foot - size * (0.5, 1), foot + size * (0.5, 0)])
        there = (way >= 0) & (way <= 1)
        covered = _covered(boxes, there)
        score = np.where(covered >= 0.4, rng.uniform(0.12, 0.5, people), rng.uniform(0.62, 0.99, people))
        seen = rng.permutation(np.flatnonzero(there & (covered < 0.7) & (rng.random(people) >= 0.03)))
        jitter = rng.normal(0, 0.015, boxes.shape) * height[:, None]
        found.append(((boxes + jitter)[seen], score[seen]))
        lines.append(mot_lines(frame + 1, (np.flatnonzero(there) + 1, boxes[there])))
    return Scene(f"square-{people}", tuple(found), "".join(lines))


def _covered(boxes: F64, there: NDArray[np.bool_]) -> F64:
    """Returns the part of every box that the one nearer to the camera, with lower feet, covers most of."""
    edge = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    shared = edge.clip(0).prod(axis=2) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None]
    nearer = (boxes[None, :, 3] > boxes[:, None, 3]) & there[None]
    return np.asarray(np.where(nearer, shared, 0).max(axis=1), np.float64)


def mot_lines(frame: int, row: Row) -> str:
    """Returns one frame's tracks as lines of a MOTChallenge file; `frame` counts from 1."""
    return "".join(
        f"{frame},{track},{x1:.3f},{y1:.3f},{x2 - x1:.3f},{y2 - y1:.3f},1,1,1\n"
        for track, (x1, y1, x2, y2) in zip(row[0].tolist(), row[1].tolist(), strict=True)
    )
