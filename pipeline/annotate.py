"""What a person sees in the annotated video: boxes, tags, trails and the time."""

from __future__ import annotations

import colorsys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from watchline.detectors.detections import Detections, MaskDetections
from watchline.pipeline.figures import draw_faces, draw_figure
from watchline.pipeline.findings import Findings
from watchline.streams.frame import U8
from watchline.trackers.tracks import Tracks

Colour: TypeAlias = tuple[int, int, int]  # red, green, blue, each 0..255
Rect: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom, px

_GOLDEN = 0.618033988749895  # steps of this share of the circle spread hues well, however many there are
_SHADES = ((0.72, 0.96), (0.55, 1.0), (0.85, 0.84))  # saturation, value: ids of like hue differ in shade
_TRAIL_POINTS = 24
_INK: Colour = (16, 18, 22)
_PAPER: Colour = (255, 255, 255)
_NOBODYS: Colour = (214, 218, 224)  # of a face that belongs to no track
_NOTHING = Findings(Detections.empty())


def track_colour(track_id: int) -> Colour:
    """Returns the colour of a track: the same in every run, in the video and in the report.

    >>> track_colour(1)
    (115, 156, 255)
    """
    saturation, value = _SHADES[track_id % len(_SHADES)]
    red, green, blue = colorsys.hsv_to_rgb((track_id * _GOLDEN) % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def ink_on(colour: Colour) -> Colour:
    """Returns the text colour, dark or white, that reads better on `colour`.

    Source: relative luminance and contrast of WCAG 2.1.

    >>> ink_on((255, 255, 0)), ink_on((0, 0, 160))
    ((16, 18, 22), (255, 255, 255))
    """
    linear = [(c / 255) ** 2.2 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return _INK if luminance > 0.179 else _PAPER  # 0.179: where both contrasts are equal


def clock_text(seconds: float) -> str:
    """Returns a time as a person reads it, to the hundredth.

    >>> clock_text(12.34), clock_text(3600)
    ('00:12.34', '1:00:00.00')
    """
    hundredths = round(abs(seconds) * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    sign = "-" if seconds < 0 and hundredths else ""
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes:02d}"
    return f"{sign}{head}:{rest // 100:02d}.{rest % 100:02d}"


@dataclass(frozen=True, slots=True)
class _Pen:
    """Sizes that grow with the picture, px."""

    line: int
    font: float
    weight: int
    pad: int

    @classmethod
    def for_picture(cls, height: int, width: int) -> _Pen:
        size = (height * width) ** 0.5
        return cls(
            line=max(1, round(size / 480)),
            font=float(np.clip(size / 1800, 0.38, 1.6)),
            weight=2 if size > 1800 else 1,
            pad=max(2, round(size / 320)),
        )


class Annotator:
    """Draws one camera's tracks. It remembers where each was of late, so frames must come in order.

    A track that is not seen for `trail_s` is forgotten, so memory is bounded by the tracks seen within `trail_s`.

    Args:
        labels: class names; `Tracks.class_id` indexes them.
        trail_s: how long a trail is, seconds.
    """

    def __init__(self, labels: Sequence[str], trail_s: float = 2.0) -> None:
        self._labels = tuple(labels)
        self._trail_s = trail_s
        self._trails: dict[int, deque[tuple[float, float, float]]] = {}  # track id -> pts_s, x, y of the foot point

    def draw(
        self,
        rgb: U8,
        tracks: Tracks,
        pts_s: float,
        findings: Findings = _NOTHING,
        out: U8 | None = None,
        time_text: str = "",
    ) -> U8:
        """Returns the picture with the tracks drawn on it.

        Args:
            rgb: (H, W, 3) uint8; never written to.
            tracks: those of this frame; may be empty.
            pts_s: the frame's time, seconds; not less than at the call before.
            findings: of the frame; poses, landmarks, masks and faces are drawn too.
            out: (H, W, 3) uint8 to draw on, overwritten whole; where it has not the size of `rgb`, or none is given,
                a new one is made.
            time_text: the time as it is written on the picture; that of `pts_s` where left out.

        Returns:
            (H, W, 3) uint8.
        """
        canvas = out if out is not None and out.shape == rgb.shape else np.empty_like(rgb)
        np.copyto(canvas, rgb)
        height, width = canvas.shape[:2]
        pen = _Pen.for_picture(height, width)
        taken = [self._draw_corner(canvas, tracks, time_text or clock_text(pts_s), pen)]
        self._remember(tracks, pts_s)
        draw_faces(canvas, findings.free_faces(tracks.detection), _NOBODYS, pen.line)
        near_last = np.argsort(tracks.xyxy[:, 3], kind="stable")  # nearer people stand lower and cover farther ones
        limits = np.array([width - 1, height - 1, width - 1, height - 1])
        boxes = np.clip(np.rint(tracks.xyxy), 0, limits).astype(np.int64).tolist()
        seen = tracks.seen.tolist()
        for row in near_last.tolist():
            colour = track_colour(int(tracks.track_id[row]))
            self._draw_trail(canvas, int(tracks.track_id[row]), pts_s, pen)
            if seen[row]:
                _draw_shapes(canvas, findings, int(tracks.detection[row]), colour, pen)
            _draw_box(canvas, boxes[row], colour, pen, seen=seen[row])
        for row in near_last[::-1].tolist():  # the nearest chooses the place of its tag first
            what = f"{tracks.score[row]:.2f}" if seen[row] else "unseen"
            text = f"#{tracks.track_id[row]} {self._labels[tracks.class_id[row]]} {what}"
            colour = track_colour(int(tracks.track_id[row]))
            taken.append(_draw_tag(canvas, boxes[row], text, colour, pen, taken))
        return canvas

    def _remember(self, tracks: Tracks, pts_s: float) -> None:
        """Adds the foot points of this frame and forgets who was not seen for `trail_s`."""
        feet = (tracks.xyxy[:, 0] + tracks.xyxy[:, 2]) / 2
        for track_id, x, y in zip(tracks.track_id.tolist(), feet.tolist(), tracks.xyxy[:, 3].tolist(), strict=True):
            trail = self._trails.setdefault(track_id, deque(maxlen=_TRAIL_POINTS + 1))
            # The newest point follows the track; it is kept for good once it is a step away from the one before.
            if len(trail) > 1 and trail[-1][0] - trail[-2][0] < self._trail_s / _TRAIL_POINTS:
                trail.pop()
            trail.append((pts_s, x, y))
        for track_id, trail in list(self._trails.items()):
            while trail and pts_s - trail[0][0] > self._trail_s:
                trail.popleft()
            if not trail:
                del self._trails[track_id]

    def _draw_trail(self, canvas: U8, track_id: int, pts_s: float, pen: _Pen) -> None:
        """Draws the trail in short pieces, each tinted with the pixel beneath it: as good as blending, and cheaper."""
        import cv2

        trail = self._trails[track_id]
        if len(trail) < 2:
            return
        height, width = canvas.shape[:2]
        times, xs, ys = np.array(trail).T
        xs, ys = np.clip(xs, 0, width - 1).astype(np.intp), np.clip(ys, 0, height - 1).astype(np.intp)
        strength = np.clip(1 - (pts_s - times[1:]) / self._trail_s, 0, 1)[:, None]
        beneath = canvas[(ys[1:] + ys[:-1]) // 2, (xs[1:] + xs[:-1]) // 2]
        tints = (beneath + (np.array(track_colour(track_id)) - beneath) * strength).tolist()
        points = np.stack([xs, ys], axis=1).tolist()
        for start, end, tint in zip(points[:-1], points[1:], tints, strict=True):
            cv2.line(canvas, start, end, tint, pen.line + 1, cv2.LINE_AA)

    def _draw_corner(self, canvas: U8, tracks: Tracks, time_text: str, pen: _Pen) -> Rect:
        """Draws the time and the number of people at the top left; returns the place taken."""
        people = sum(self._labels[class_id] == "person" for class_id in tracks.class_id[tracks.seen].tolist())
        text = f"{time_text}   {people} {'person' if people == 1 else 'people'}"
        text_width, text_height = _text_size(text, pen)
        margin = 2 * pen.pad
        rect = (margin, margin, margin + text_width + 4 * pen.pad, margin + text_height + 3 * pen.pad)
        left, top, right, bottom = rect
        area = canvas[top:bottom, left:right]
        area[:] = area // 4 + np.array(_INK, np.uint8) // 4 * 3
        _write(canvas, text, (left + 2 * pen.pad, (top + bottom + text_height) // 2), _PAPER, pen)
        return rect


def _draw_shapes(canvas: U8, findings: Findings, row: int, colour: Colour, pen: _Pen) -> None:
    """Draws the mask, then the skeleton, then the face of one detection."""
    shapes = sorted(findings.shapes_of(row), key=lambda shape: not isinstance(shape[0], MaskDetections))
    for found, i in shapes:
        draw_figure(canvas, found, i, colour, pen.line)
    draw_faces(canvas, findings.face_of(row), colour, pen.line)


def _draw_box(canvas: U8, box: Sequence[int], colour: Colour, pen: _Pen, *, seen: bool) -> None:
    """Draws a box, of an unseen object its corners, with a dark edge: so it shows on light and dark ground alike."""
    import cv2

    left, top, right, bottom = box
    if not seen:
        reach = max(2, min(right - left, bottom - top) // 4)
        for x, inward in ((left, reach), (right, -reach)):
            for y, down in ((top, reach), (bottom, -reach)):
                corner = np.array([(x + inward, y), (x, y), (x, y + down)], np.int32)
                cv2.polylines(canvas, [corner], isClosed=False, color=_INK, thickness=pen.line + 2)
                cv2.polylines(canvas, [corner], isClosed=False, color=colour, thickness=pen.line)
        return
    corners = (left, top), (right, bottom)
    cv2.rectangle(canvas, *corners, _INK, pen.line + 2, cv2.LINE_8)
    cv2.rectangle(canvas, *corners, colour, pen.line, cv2.LINE_8)


def _draw_tag(canvas: U8, box: Sequence[int], text: str, colour: Colour, pen: _Pen, taken: Sequence[Rect]) -> Rect:
    """Draws a tag at the first free place by its box, always inside the picture; returns the place."""
    import cv2

    text_width, text_height = _text_size(text, pen)
    tag_width, tag_height = text_width + 2 * pen.pad, text_height + 2 * pen.pad
    left, top, right, bottom = box
    places = [
        _inside(canvas, x, y, tag_width, tag_height)
        for y in (top - tag_height, top, bottom - tag_height, bottom)
        for x in (left, right - tag_width)
    ]
    place = next((p for p in places if not any(_overlap(p, other) for other in taken)), places[0])
    cv2.rectangle(canvas, place[:2], (place[2] - 1, place[3] - 1), colour, cv2.FILLED)
    _write(canvas, text, (place[0] + pen.pad, (place[1] + place[3] + text_height) // 2), ink_on(colour), pen)
    return place


def _inside(canvas: U8, left: int, top: int, width: int, height: int) -> Rect:
    """Returns a rectangle of that size, moved into the picture."""
    left = max(0, min(left, canvas.shape[1] - width))
    top = max(0, min(top, canvas.shape[0] - height))
    return left, top, left + width, top + height


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _text_size(text: str, pen: _Pen) -> tuple[int, int]:
    """Returns the width of `text` and the height of its capitals, px."""
    import cv2

    width = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, pen.font, pen.weight)[0][0]
    return width, cv2.getTextSize("H0", cv2.FONT_HERSHEY_SIMPLEX, pen.font, pen.weight)[0][1]


def _write(canvas: U8, text: str, baseline: tuple[int, int], colour: Colour, pen: _Pen) -> None:
    import cv2

    cv2.putText(canvas, text, baseline, cv2.FONT_HERSHEY_SIMPLEX, pen.font, colour, pen.weight, cv2.LINE_AA)
