"""Gathers, while a run goes on, what its report shows: a card a track with its best crop, presence, counts over time.

Everything here is bounded: `max_cards` cards and those of tracks that may still come back, a few presence intervals
each, a fixed number of counting bins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.detections import Detections, FaceDetections
from watchline.pipeline.findings import Findings
from watchline.pipeline.sketch import Sketch
from watchline.pipeline.view import View
from watchline.streams.frame import Frame
from watchline.trackers.tracks import Tracks

_CROP_HEIGHT_PX, _CROP_WIDTH_PX = 192, 288  # at most, as stored
_FACE_PX = 80
_FACE_MARGIN = 0.25  # of a face's sides, shown around it
_LOOK_EVERY_S = 0.2  # a track's crops change little in less
_MOST_INTERVALS = 32
_GAP_S = 1.0  # a shorter absence is none
_BINS = 300
_NO_RETURN_S = 60.0  # longer than any tracker remembers
_NOTHING = Findings(Detections.empty())


@dataclass(slots=True)
class Card:
    """What the report shows of one track.

    Attributes:
        track_id: its id.
        class_id: of its last detection.
        first_s: pts when first seen.
        last_s: pts when last seen.
        frames: in which it was seen.
        best_score: highest score of a detection.
        view: its best view.
        sketch: the skeleton, mask and face in that view.
        face_frames: in which its face was seen.
        face: the best view of its face.
        intervals: (first, last) pts of each unbroken presence, oldest first.
    """

    track_id: int
    class_id: int
    first_s: float
    last_s: float
    frames: int = 0
    best_score: float = 0.0
    view: View = field(default_factory=lambda: View(_CROP_HEIGHT_PX, _CROP_WIDTH_PX))
    sketch: Sketch = field(default_factory=Sketch)
    face_frames: int = 0
    face: View = field(default_factory=lambda: View(_FACE_PX, _FACE_PX))
    intervals: list[tuple[float, float]] = field(default_factory=list)
    looked_s: float = float("-inf")
    face_looked_s: float = float("-inf")


class Counts:
    """People (and more) in the picture over time, in a fixed number of bins that widen as the video grows.

    Attributes:
        bin_s: width of a bin, seconds.
        start_s: pts of the first frame; None before it.
        end_s: pts of the last frame.
    """

    def __init__(self, bins: int = _BINS, bin_s: float = 0.5) -> None:
        self._frames = np.zeros(bins, np.int64)
        self._objects = np.zeros(bins, np.int64)
        self.bin_s = bin_s
        self.start_s: float | None = None
        self.end_s = 0.0
        self._used = 0

    def add(self, pts_s: float, count: int) -> None:
        """Counts one frame with `count` objects."""
        self.start_s = pts_s if self.start_s is None else self.start_s
        self.end_s = pts_s
        while (index := int((pts_s - self.start_s) / self.bin_s)) >= len(self._frames):
            for array in (self._frames, self._objects):
                array[: len(array) // 2] = array[0::2][: len(array) // 2] + array[1::2]
                array[len(array) // 2 :] = 0
            self.bin_s *= 2
        self._frames[index] += 1
        self._objects[index] += count
        self._used = index + 1

    def means(self) -> list[tuple[float, float]]:
        """Returns (time of the bin's middle in s, mean number of objects) for each bin that holds frames."""
        start_s = self.start_s or 0.0
        return [
            (start_s + (i + 0.5) * self.bin_s, float(self._objects[i] / self._frames[i]))
            for i in range(self._used)
            if self._frames[i]
        ]


class Album:
    """What the report of one input shows.

    Args:
        labels: class names.
        interval_s: usual time between two frames, seconds.
        max_cards: most tracks with a card; beyond, those seen in the fewest frames lose theirs, and are counted.

    Attributes:
        labels: class names.
        counts: objects over time.
        track_count: tracks ever seen.
        tracks_by_class: class name to number of tracks, as first seen.
        faced_count: tracks whose face was ever seen.
    """

    def __init__(self, labels: Sequence[str], interval_s: float = 0.0, max_cards: int = 500) -> None:
        self.labels = labels
        self.counts = Counts()
        self.track_count = 0
        self.faced_count = 0
        self.tracks_by_class: Counter[str] = Counter()
        self._gap_s = max(_GAP_S, 1.5 * interval_s)
        self._no_return_s = max(_NO_RETURN_S, 10 * interval_s)
        self._max_cards = max_cards
        self._cards: dict[int, Card] = {}

    @property
    def cards(self) -> list[Card]:
        """At most `max_cards` cards, those seen in the most frames, in the order of first sight."""
        longest = sorted(self._cards.values(), key=lambda card: (-card.frames, card.track_id))[: self._max_cards]
        return sorted(longest, key=lambda card: (card.first_s, card.track_id))

    @property
    def without_card(self) -> int:
        """Tracks that were seen but have no card."""
        return self.track_count - min(self._max_cards, len(self._cards))

    def add(self, frame: Frame, tracks: Tracks, findings: Findings = _NOTHING) -> None:
        """Looks at one frame; what coasts in it was not seen."""
        tracks = tracks[tracks.seen]
        self.counts.add(frame.pts_s, len(tracks))
        for i in range(len(tracks)):
            card = self._card(int(tracks.track_id[i]), int(tracks.class_id[i]), frame.pts_s)
            score = float(tracks.score[i])
            card.frames += 1
            card.class_id = int(tracks.class_id[i])
            card.best_score = max(card.best_score, score)
            _extend(card, frame.pts_s, self._gap_s)
            row = int(tracks.detection[i])
            if frame.pts_s - card.looked_s >= _LOOK_EVERY_S:
                card.looked_s = frame.pts_s
                if card.view.look(frame.rgb(), tracks.xyxy[i], score):
                    card.sketch = Sketch.of(findings, row, card.view)
            self._look_at_face(card, frame, findings.face_of(row))
        if len(self._cards) > self._max_cards:
            self._drop(frame.pts_s)

    def _card(self, track_id: int, class_id: int, pts_s: float) -> Card:
        card = self._cards.get(track_id)
        if card is None:
            card = self._cards[track_id] = Card(track_id, class_id, pts_s, pts_s)
            self.track_count += 1
            self.tracks_by_class[self.labels[class_id]] += 1
        return card

    def _look_at_face(self, card: Card, frame: Frame, face: FaceDetections) -> None:
        if not len(face):
            return
        self.faced_count += card.face_frames == 0
        card.face_frames += 1
        if frame.pts_s - card.face_looked_s >= _LOOK_EVERY_S:
            card.face_looked_s = frame.pts_s
            card.face.look(frame.rgb(), _around(face.xyxy[0]), float(face.score[0]))

    def _drop(self, now_s: float) -> None:
        """Drops the cards seen in the fewest frames, of those that cannot come back; were one to, it would count twice.

        Those that can come back take no place of theirs: else a busy minute would drive out all that came before it.
        """
        ended = [card for card in self._cards.values() if now_s - card.last_s > self._no_return_s]
        ended.sort(key=lambda card: (-card.frames, card.track_id))
        for card in ended[self._max_cards :]:
            del self._cards[card.track_id]


def _extend(card: Card, pts_s: float, gap_s: float) -> None:
    """Adds `pts_s` to the presence; beyond the bound the shortest absence is forgotten."""
    if card.intervals and pts_s - card.intervals[-1][1] <= gap_s:
        card.intervals[-1] = (card.intervals[-1][0], pts_s)
    else:
        card.intervals.append((pts_s, pts_s))
    card.last_s = pts_s
    if len(card.intervals) > _MOST_INTERVALS:
        gaps = [after[0] - before[1] for before, after in pairwise(card.intervals)]
        i = gaps.index(min(gaps))
        card.intervals[i : i + 2] = [(card.intervals[i][0], card.intervals[i + 1][1])]


def _around(xyxy: F32) -> F32:
    """Returns a face's box with hair and chin."""
    margin = _FACE_MARGIN * (xyxy[2:] - xyxy[:2])
    return np.concatenate([xyxy[:2] - margin, xyxy[2:] + margin])
