"""The peers, each fed its own form of input and loaded only when it runs.

Their options are those of the published programs where they have them, and their own defaults where not: ByteTrack
0.5 / 0.1, new from 0.6, cost up to 0.8, second sight, 30 frames; OC-SORT 0.6, 3 hits, IoU 0.3, delta_t 3, inertia 0.2.
"""

from __future__ import annotations

import importlib
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import numpy as np

from tests.bench.peers_venv import ROOT
from tests.bench.tracker_scenes import Frame, Row
from tests.bench.tracker_side import BYTE_TRACK, OC_SORT, Inputs, Side, Update, as_they_are, row


def load(name: str) -> ModuleType:
    """Returns a peer's module; `trackers` is the name of a folder of ours too, which must not be found in its place."""
    path = sys.path[:]
    sys.path[:] = [entry for entry in path if entry not in ("", str(ROOT))]
    try:
        return importlib.import_module(name)
    finally:
        sys.path[:] = path
        logging.disable(logging.INFO)  # some tell about every tracker made


def _update_of(module: str, name: str, **options: Any) -> Callable[[], Update]:
    """Returns what makes a tracker, the class `name`, and returns its update."""

    def make() -> Update:
        update: Update = getattr(load(module), name)(**options).update
        return update

    return make


def _five_columns(frames: tuple[Frame, ...]) -> Inputs:
    return [(np.column_stack([xyxy, score]),) for xyxy, score in frames]


def _six_columns(frames: tuple[Frame, ...]) -> Inputs:
    return [(np.column_stack([xyxy, score, np.zeros(len(score))]).astype(np.float32),) for xyxy, score in frames]


def _with_area(frames: tuple[Frame, ...]) -> Inputs:
    """The same without boxes that have no area, which boxmot refuses."""
    return [(rows[(rows[:, 2:4] > rows[:, :2]).all(axis=1)],) for (rows,) in _six_columns(frames)]


def _fifth_column(rows: Any) -> Row:
    return row(rows[:, 4], rows[:, :4]) if len(rows) else row([], [])  # some say "none" in another shape


def _fifth_column_from_zero(rows: Any) -> Row:
    ids, boxes = _fifth_column(rows)
    return ids + 1, boxes


def _with_nanoseconds(frames: tuple[Frame, ...]) -> Inputs:
    return [
        (xyxy.astype(np.float32), score.astype(np.float32), np.zeros(len(score), np.uintp), index * 1_000_000_000 // 30)
        for index, (xyxy, score) in enumerate(frames)
    ]


def _by_uuid(tracks: Iterable[Any]) -> Row:
    seen = [track for track in tracks if track is not None]
    ids = [int(track.uuid.replace("-", ""), 16) % (1 << 50) for track in seen]  # a MOT file wants smaller numbers
    return row(ids, [track.tracked_location for track in seen])


def _visiontrack() -> Update:
    module = load("visiontrack_cpp")
    update: Update = module.ByteTracker(module.TrackerConfig(match_iou_thresh=0.2, n_init=2, max_age=30)).update
    return update


def _seen_only(frames: tuple[Frame, ...]) -> Inputs:
    return [(boxes, False) for (boxes,) in _five_columns(frames)]


def _supervision(frames: tuple[Frame, ...]) -> Inputs:
    detections = load("supervision").Detections
    return [(detections(xyxy=xyxy, confidence=score, class_id=np.zeros(len(score), int)),) for xyxy, score in frames]


def _by_tracker_id(tracks: Any) -> Row:
    known = tracks.tracker_id >= 0
    return row(tracks.tracker_id[known] + 1, tracks.xyxy[known])


def _ultralytics(**options: Any) -> dict[str, Any]:
    return {
        "args": SimpleNamespace(track_low_thresh=0.1, track_buffer=30, match_thresh=0.8, fuse_score=True, **options)
    }


def _ultralytics_boxes(frames: tuple[Frame, ...]) -> Inputs:
    boxes = load("ultralytics.engine.results").Boxes
    return [(boxes(rows, (1080, 1920)),) for (rows,) in _six_columns(frames)]


def _built_here(module: str, name: str, **options: Any) -> Callable[[], Update]:
    """The same for a backend that compiles itself at its first use: says what that lacks, and sooner."""

    def make() -> Update:
        headers = ("pkg-config", "--exists", "opencv4", "eigen3")
        if not (shutil.which("cmake") and shutil.which(headers[0])) or subprocess.run(headers, check=False).returncode:
            raise RuntimeError(
                "it is compiled at first use, with cmake, pkg-config, and headers of OpenCV 4 and Eigen 3"
            )
        return _update_of(module, name, options=options)()

    return make


_BYTE: Final[dict[str, Any]] = {"track_thresh": 0.5, "match_thresh": 0.8, "track_buffer": 30}
_OC: Final[dict[str, Any]] = {"det_thresh": 0.6, "max_age": 30, "min_hits": 3, "iou_threshold": 0.3, "inertia": 0.2}
_IOU: Final[dict[str, Any]] = {"init_tracker_min_score": 0.6, "high_score_threshold": 0.5, "low_score_threshold": 0.1}
_ROBO: Final[dict[str, Any]] = {"track_activation_threshold": 0.6, "high_conf_det_threshold": 0.5}
_BOXMOT: Final = "boxmot.trackers.box"

_pyx = partial(Side, language="C++", feed=_five_columns, read=_fifth_column, package="pyxtrackers")
_roboflow = partial(Side, language="Python", feed=_supervision, read=_by_tracker_id, package="trackers")
_ultra = partial(Side, language="Python", feed=_ultralytics_boxes, read=_fifth_column, package="ultralytics")
_boxmot = partial(Side, feed=_with_area, read=_fifth_column_from_zero, package="boxmot")

THEIRS: Final = (
    _pyx("pyxtrackers", BYTE_TRACK, make=_update_of("pyxtrackers", "BYTETracker", **_BYTE)),
    Side(
        name="edgefirst",
        family=BYTE_TRACK,
        language="Rust",
        make=_update_of("edgefirst.tracker", "ByteTrack", high_conf=0.5, lifespan_ns=1_000_000_000),
        feed=_with_nanoseconds,
        read=_by_uuid,
        package="edgefirst-tracker",
    ),
    Side(
        name="visiontrack",
        family=BYTE_TRACK,
        language="C++",
        make=_visiontrack,
        feed=as_they_are,
        read=lambda tracks: row(tracks[0], tracks[1]),
        package="visiontrack-cpp",
    ),
    Side(
        name="ioutrack",
        family=BYTE_TRACK,
        language="Rust",
        make=_update_of("ioutrack", "ByteTrack", max_age=30, min_hits=2, **_IOU),
        feed=_seen_only,
        read=_fifth_column,
        package="ioutrack-rs",
    ),
    _roboflow(
        "trackers", BYTE_TRACK, make=_update_of("trackers", "ByteTrackTracker", minimum_iou_threshold=0.2, **_ROBO)
    ),
    _ultra(
        "ultralytics",
        BYTE_TRACK,
        make=_update_of(
            "ultralytics.trackers.byte_tracker",
            "BYTETracker",
            **_ultralytics(track_high_thresh=0.5, new_track_thresh=0.6),
        ),
    ),
    _boxmot(
        "boxmot", BYTE_TRACK, language="Python", make=_update_of(f"{_BOXMOT}.bytetrack.tracker", "ByteTrack", **_BYTE)
    ),
    _boxmot(
        "boxmot, C++",
        BYTE_TRACK,
        language="C++",
        make=_built_here(f"{_BOXMOT}.bytetrack.native", "NativeByteTrackTracker", **_BYTE),
    ),
    _pyx("pyxtrackers", OC_SORT, make=_update_of("pyxtrackers", "OCSort", **_OC)),
    _roboflow("trackers", OC_SORT, make=_update_of("trackers", "OCSORTTracker")),
    _ultra(
        "ultralytics",
        OC_SORT,
        make=_update_of(
            "ultralytics.trackers.oc_sort",
            "OCSORT",
            **_ultralytics(track_high_thresh=0.6, new_track_thresh=0.6, delta_t=3, inertia=0.2, use_byte=False),
        ),
    ),
    _boxmot("boxmot", OC_SORT, language="Python", make=_update_of(f"{_BOXMOT}.ocsort.tracker", "OcSort", **_OC)),
    _boxmot(
        "boxmot, C++",
        OC_SORT,
        language="C++",
        make=_built_here(f"{_BOXMOT}.ocsort.native", "NativeOcSortTracker", **_OC),
    ),
)
