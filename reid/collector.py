"""Collector: gathers tracklets of one camera, each with the few pictures that are worth describing.

The road of a frame's tracks: those seen, of people -> judged by their places, all at once -> of those that could beat
what is kept, the pixels -> copied if they do. Most are settled without a look at a pixel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.detections import FaceDetections
from watchline.reid.cutting import Cut, around_face, shrunk
from watchline.reid.quality import FACE_GATE, Flaw, Gate, Refusal, face_bound, judge, sharpness
from watchline.reid.shelf import Shelf
from watchline.reid.tracklet import Crop, Tracklet
from watchline.reid.trail import Trail
from watchline.streams.frame import Frame
from watchline.trackers.tracks import Tracks

FacesOf: TypeAlias = Callable[[int], FaceDetections]
"""Given a row of the frame's detections, the face that belongs to it; none where none does."""

_CLEARLY_BETTER = 1.1  # a picture must be this much better to take another's place
_NO_LANDMARKS = np.empty((0, 2), np.float32)
_NO_FACE = FaceDetections.empty()


def no_faces(_row: int) -> FaceDetections:
    """Returns no face: where no model looks for any."""
    return _NO_FACE


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """What is gathered of a track.

    Attributes:
        people: names of the classes that are gathered.
        crops: most pictures of a tracklet.
        faces: most pictures of its face; 0 for none.
        slot_s: pictures are this far apart at first, on average, seconds; see `Shelf`.
        look_s: at a track's pixels it is looked at most once in this time, seconds.
        part_s: longer tracks are cut into parts of this length, seconds.
        end_after_s: unseen for longer, a track is over, seconds; longer than its tracker waits for it.
        path_hz: boxes of a path a second.
        most_path: boxes of a path; of a longer one every other is left out.
        most_tracks: followed at once; beyond, the one unseen for longest ends early.
        most_bytes: of pictures held; beyond, tracks give up their worst.
        most_height: of a picture, pixels; what is larger is scaled down.
        most_width: likewise.
        gate: what a picture must be like.
        face_gate: what one of a face must be like.

    Raises:
        ValueError: a number that makes no sense.
    """

    people: tuple[str, ...] = ("person",)
    crops: int = 5
    faces: int = 3
    slot_s: float = 0.5
    look_s: float = 0.1
    part_s: float = 60.0
    end_after_s: float = 5.0
    path_hz: float = 5.0
    most_path: int = 320
    most_tracks: int = 256
    most_bytes: int = 64 << 20
    most_height: int = 384
    most_width: int = 192
    gate: Gate = field(default_factory=Gate)
    face_gate: Gate = FACE_GATE

    def __post_init__(self) -> None:
        times = (self.slot_s, self.part_s, self.end_after_s, self.path_hz)
        counts = (self.crops, self.most_tracks, self.most_height, self.most_width)
        if not all(0 < value < float("inf") for value in times) or not 0 <= self.look_s < float("inf"):
            raise ValueError(f"slot_s, part_s, end_after_s, path_hz {times}, look_s {self.look_s}: want more than 0")
        if min(counts) < 1 or self.faces < 0 or self.most_path < 4 or self.most_bytes < 0:
            raise ValueError(f"want crops, tracks and sizes of 1 and more, and 4 boxes of a path: {self}")


@dataclass(slots=True)
class Gathered:
    """What a collector did so far.

    Attributes:
        tracklets: that ended.
        without_crop: of these, such without any picture, by the reason's first words.
        looked: times that pixels were looked at.
        taken: pictures copied.
        given_up: pictures dropped for want of memory.
        refused: times that a track was not followed, for there were too many.
        ended_early: tracks that ended early, to make room for others.
        rewinds: times that the stream's clock went back; all tracks end there.
    """

    tracklets: int = 0
    without_crop: Counter[str] = field(default_factory=Counter)
    looked: int = 0
    taken: int = 0
    given_up: int = 0
    refused: int = 0
    ended_early: int = 0
    rewinds: int = 0


class _Part:
    """One tracklet while it grows."""

    def __init__(self, track_id: int, number: int, frame: Frame, settings: CollectorSettings) -> None:
        self.track_id = track_id
        self.number = number
        self.start_s = self.last_s = frame.pts_s
        self.body = Shelf(settings.crops, settings.slot_s, frame.pts_s)
        self.face = Shelf(max(1, settings.faces), settings.slot_s, frame.pts_s)
        self.refusal = Refusal(Flaw.NONE, 0.0)
        self.looked_s = self.face_looked_s = float("-inf")
        self._started_at, self._clock = frame.captured_at, frame.clock
        self._height, self._width = frame.height, frame.width
        self._frames = 0
        self._best_score = 0.0
        self._label = ""
        self._trail = Trail(1 / settings.path_hz, settings.most_path)
        self._gate = settings.gate

    def goes_on(self, frame: Frame, part_s: float) -> bool:
        """Tells whether a frame belongs to it: places in frames of another size mean something else."""
        return frame.pts_s - self.start_s < part_s and (frame.height, frame.width) == (self._height, self._width)

    def see(self, frame: Frame, xyxy: F32, score: float, label: str) -> None:
        """Takes note of one frame in which it was seen."""
        self.last_s = frame.pts_s
        self._frames += 1
        self._best_score = max(self._best_score, score)
        self._label = label
        self._trail.add(frame.pts_s - self.start_s, xyxy)

    def tracklet(self, camera: str, *, is_last: bool) -> Tracklet:
        """Returns it as it is now."""
        crops = self.body.crops
        return Tracklet(
            camera=camera,
            track_id=self.track_id,
            part=self.number,
            is_last=is_last,
            label=self._label,
            start_pts_s=self.start_s,
            end_pts_s=self.last_s,
            started_at=self._started_at,
            # By the stream's time, not by the last frame's: a wall clock that was set meanwhile would spoil it.
            ended_at=self._started_at + (self.last_s - self.start_s),
            clock=self._clock,
            frames=self._frames,
            best_score=self._best_score,
            crops=crops,
            faces=self.face.crops,
            reason="" if crops else self._reason(),
            path=self._trail.path(),
            frame_width=self._width,
            frame_height=self._height,
        )

    def _reason(self) -> str:
        if self.body.ever:
            return "no room: too many pictures were held at once"
        return self.refusal.words(self._gate) or "no picture of it could be taken"


class Collector:
    """Gathers the tracklets of one camera. Not for several threads at once.

    Args:
        camera: whose frames it sees.
        labels: class names; `Tracks.class_id` indexes them.
        settings: what is gathered.

    Attributes:
        gathered: what it did so far.
    """

    def __init__(self, camera: str, labels: Sequence[str], settings: CollectorSettings | None = None) -> None:
        self.gathered = Gathered()
        self._camera = camera
        self._labels = labels
        self._settings = settings or CollectorSettings()
        people = [i for i, label in enumerate(labels) if label in self._settings.people]
        self._people = np.array(people, np.int32)
        self._open: dict[int, _Part] = {}  # by track id, the one seen last at the end
        self._now_s = float("-inf")
        self._bytes = 0

    def look(self, frame: Frame, tracks: Tracks, faces: FacesOf = no_faces) -> list[Tracklet]:
        """Looks at one frame; what coasts in it was not seen.

        Args:
            frame: of this camera; its pixels are looked at only where they could matter.
            tracks: of the frame.
            faces: given a row of the frame's detections, the face that belongs to it.

        Returns:
            The tracklets that are over, or were cut, in order of their last sight.
        """
        ended = self._elapse(frame.pts_s)
        seen = tracks[tracks.seen & np.isin(tracks.class_id, self._people)]
        # Of whom is in front of whom everybody seen tells, and pixels decide nothing about that.
        judged = judge(seen.xyxy, seen.score, frame.height, frame.width, self._settings.gate)
        present = set(seen.track_id.tolist())
        for row in range(len(seen)):
            part = self._part(int(seen.track_id[row]), frame, present, ended)
            if part is None:
                continue
            score = float(seen.score[row])
            part.see(frame, seen.xyxy[row], score, self._labels[int(seen.class_id[row])])
            if judged.flaw[row] != Flaw.NONE:
                part.refusal = max(part.refusal, judged.refusal(row))
            else:
                self._look_at_body(part, frame, seen.xyxy[row], score, float(judged.bound[row]))
            if self._settings.faces:
                self._look_at_face(part, frame, faces(int(seen.detection[row])))
        return ended

    def finish(self) -> list[Tracklet]:
        """Returns the tracklets that are still open: no more frames come."""
        return [self._close(part, is_last=True) for part in list(self._open.values())]

    def _elapse(self, now_s: float) -> list[Tracklet]:
        """Moves the clock; returns the tracklets of whoever was not seen for too long."""
        if now_s < self._now_s:
            self.gathered.rewinds += 1
            self._now_s = now_s
            return self.finish()
        self._now_s = now_s
        gone = [part for part in self._open.values() if now_s - part.last_s > self._settings.end_after_s]
        return [self._close(part, is_last=True) for part in gone]

    def _part(self, track_id: int, frame: Frame, present: set[int], ended: list[Tracklet]) -> _Part | None:
        """Returns the part that a track is in: the open one, or a new one where there is none or it does not go on.

        None for no room.
        """
        part = self._open.get(track_id)
        if part is not None and part.goes_on(frame, self._settings.part_s):
            self._open[track_id] = self._open.pop(track_id)
            return part
        number = 0
        if part is not None:
            ended.append(self._close(part, is_last=False))
            number = part.number + 1
        elif len(self._open) >= self._settings.most_tracks and not self._make_room(present, ended):
            self.gathered.refused += 1
            return None
        part = self._open[track_id] = _Part(track_id, number, frame, self._settings)
        return part

    def _make_room(self, present: set[int], ended: list[Tracklet]) -> bool:
        """Ends the track unseen for longest, of those that are not in this frame; returns whether there was one."""
        oldest = next((part for part in self._open.values() if part.track_id not in present), None)
        if oldest is None:
            return False
        self.gathered.ended_early += 1
        ended.append(self._close(oldest, is_last=True))
        return True

    def _close(self, part: _Part, *, is_last: bool) -> Tracklet:
        del self._open[part.track_id]
        self._bytes -= part.body.size_bytes + part.face.size_bytes
        tracklet = part.tracklet(self._camera, is_last=is_last)
        self.gathered.tracklets += 1
        if not tracklet.crops:
            self.gathered.without_crop[tracklet.reason.partition(":")[0]] += 1
        return tracklet

    def _look_at_body(self, part: _Part, frame: Frame, xyxy: F32, score: float, bound: float) -> None:
        if frame.pts_s - part.looked_s < self._settings.look_s:
            return
        to_beat = _CLEARLY_BETTER * part.body.to_beat(frame.pts_s)
        if bound <= to_beat:
            return
        part.looked_s = frame.pts_s
        cut = Cut.of(xyxy, frame.height, frame.width)
        sharp = self._sharpness(frame, cut)
        if sharp < self._settings.gate.least_sharpness:
            part.refusal = max(part.refusal, Refusal(Flaw.BLURRED, sharp))
        elif bound * sharp > to_beat:
            self._take(part.body, frame, cut, xyxy, score, bound * sharp, _NO_LANDMARKS)

    def _look_at_face(self, part: _Part, frame: Frame, face: FaceDetections) -> None:
        if not len(face) or frame.pts_s - part.face_looked_s < self._settings.look_s:
            return
        part.face_looked_s = frame.pts_s
        xyxy, gate = face.xyxy[0], self._settings.face_gate
        bound = face_bound(face, frame.height, frame.width, gate)
        to_beat = _CLEARLY_BETTER * part.face.to_beat(frame.pts_s)
        if bound <= to_beat:
            return
        sharp = self._sharpness(frame, Cut.of(xyxy, frame.height, frame.width))
        if sharp >= gate.least_sharpness and bound * sharp > to_beat:
            around = Cut.of(around_face(xyxy), frame.height, frame.width)
            self._take(part.face, frame, around, xyxy, float(face.score[0]), bound * sharp, face.landmarks[0])

    def _sharpness(self, frame: Frame, cut: Cut) -> float:
        self.gathered.looked += 1
        return sharpness(cut.view(frame.rgb())) if min(cut.height, cut.width) > 0 else 0.0

    def _take(
        self, shelf: Shelf, frame: Frame, cut: Cut, xyxy: F32, score: float, quality: float, landmarks: F32
    ) -> None:
        rgb, scale = shrunk(cut.view(frame.rgb()), self._settings.most_height, self._settings.most_width)
        corner = np.array([cut.left, cut.top], np.float32)
        points = ((landmarks - corner) * scale).astype(np.float32)
        before = shelf.size_bytes
        shelf.put(Crop(rgb, xyxy.copy(), points, score, quality, frame.pts_s, frame.captured_at))
        self._bytes += shelf.size_bytes - before
        self.gathered.taken += 1
        while self._bytes > self._settings.most_bytes:
            self._give_up_one()

    def _give_up_one(self) -> None:
        """Drops the worst picture of the shelf that holds the most."""
        shelf = max((shelf for part in self._open.values() for shelf in (part.body, part.face)), key=len)
        before = shelf.size_bytes
        shelf.drop_worst()
        self._bytes += shelf.size_bytes - before
        self.gathered.given_up += 1
