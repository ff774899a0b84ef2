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
from watchline.streams.frame import U8, Frame
from watchline.trackers.tracks import Tracks

_CROP_HEIGHT_PX, _CROP_WIDTH_PX = 192, 144  # as stored; larger crops are scaled down
_JPEG_QUALITY = 85
_CLEARLY_BETTER = 1.15  # a new best crop must be this much better: encoding costs more than looking
_LOOK_EVERY_S = 0.2  # a track's crops change little in less
_SHARPNESS_SIZE = (48, 96)  # sharpness is compared at one size
_MOST_INTERVALS = 32
_GAP_S = 1.0  # a shorter absence is none
_BINS = 300
_NO_RETURN_S = 60.0  # longer than any tracker remembers
_HALF_SHARP = 500.0  # variance of a crop that is half as sharp as can be


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
        crop: JPEG of its best view; b"" where there is none.
        quality: of that view; 0.0 for none.
        intervals: (first, last) pts of each unbroken presence, oldest first.
    """

    track_id: int
    class_id: int
    first_s: float
    last_s: float
    frames: int = 0
    best_score: float = 0.0
    crop: bytes = b""
    quality: float = 0.0
    intervals: list[tuple[float, float]] = field(default_factory=list)
    looked_s: float = float("-inf")


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
    """

    def __init__(self, labels: Sequence[str], interval_s: float = 0.0, max_cards: int = 500) -> None:
        self.labels = labels
        self.counts = Counts()
        self.track_count = 0
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

    def add(self, frame: Frame, tracks: Tracks) -> None:
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
            if frame.pts_s - card.looked_s >= _LOOK_EVERY_S:
                card.looked_s = frame.pts_s
                _look(card, frame.rgb(), tracks.xyxy[i], score)
        if len(self._cards) > self._max_cards:
            self._drop(frame.pts_s)

    def _card(self, track_id: int, class_id: int, pts_s: float) -> Card:
        card = self._cards.get(track_id)
        if card is None:
            card = self._cards[track_id] = Card(track_id, class_id, pts_s, pts_s)
            self.track_count += 1
            self.tracks_by_class[self.labels[class_id]] += 1
        return card

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


def _look(card: Card, rgb: U8, xyxy: F32, score: float) -> None:
    """Takes the crop at `xyxy` if it is clearly better than the card's."""
    height, width = rgb.shape[:2]
    left, top, right, bottom = (int(v) for v in xyxy.round().clip(0, [width, height, width, height]))
    if right - left < 2 or bottom - top < 2:
        return
    crop = rgb[top:bottom, left:right]
    # At most what sharpness could make of it: most crops are settled by their size alone.
    bound = _quality(crop, score, 1.0, cut=_is_cut(xyxy, height, width))
    if bound < _CLEARLY_BETTER * card.quality:
        return
    quality = bound * _sharpness(crop)
    if quality < _CLEARLY_BETTER * card.quality and card.crop:
        return
    card.quality = quality
    card.crop = _jpeg(crop)


def _quality(crop: U8, score: float, sharpness: float, *, cut: bool) -> float:
    """Returns how good a view is: by size up to that of a card, sharpness, score; a view cut off counts half."""
    size = min(1.0, crop.shape[0] / _CROP_HEIGHT_PX) * min(1.0, crop.shape[1] / _CROP_WIDTH_PX * 2)
    return float(size * sharpness * score * (0.5 if cut else 1.0))


def _is_cut(xyxy: F32, height: int, width: int) -> bool:
    """Whether a box touches the picture's border."""
    left, top, right, bottom = (float(v) for v in xyxy)
    return left <= 1 or top <= 1 or right >= width - 1 or bottom >= height - 1


def _sharpness(crop: U8) -> float:
    """Returns the sharpness of a crop in (0, 1]: the variance of its Laplacian, at one size for all."""
    import cv2

    grey = cv2.cvtColor(cv2.resize(crop, _SHARPNESS_SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    variance = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    return max(0.05, variance / (variance + _HALF_SHARP))


def _jpeg(crop: U8) -> bytes:
    import cv2

    scale = min(1.0, _CROP_HEIGHT_PX / crop.shape[0], 2 * _CROP_WIDTH_PX / crop.shape[1])
    if scale < 1:
        size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
        crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes() if done else b""
