"""Trackers by name, for configuration files and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from watchline.trackers.byte_track import ByteTrack, ByteTrackOptions
from watchline.trackers.byte_track_reference import ByteTrackReference
from watchline.trackers.native_byte_track import NATIVE, NativeByteTrack
from watchline.trackers.native_oc_sort import NativeOcSort
from watchline.trackers.native_reference import NativeByteTrackReference, NativeOcSortReference
from watchline.trackers.oc_sort import OcSort, OcSortOptions
from watchline.trackers.oc_sort_reference import OcSortReference
from watchline.trackers.reference_options import ByteTrackReferenceOptions, OcSortReferenceOptions
from watchline.trackers.rows import FrameStepper, SteppedTracker
from watchline.trackers.settings import one_of, options_of
from watchline.trackers.tracker import Tracker, TrackIds

Backend: TypeAlias = Literal["auto", "native", "python"]

TRACKERS: Final = ("bytetrack", "ocsort")
PRESETS: Final = ("default", "reference")
BACKENDS: Final[tuple[str, ...]] = get_args(Backend)

_LEAST_INTERVALS: Final = 3  # a track must outlive a missed frame or two, however far apart frames are
_USUAL_S: Final = 1 / 30  # frame interval where none is known


@dataclass(frozen=True, slots=True)
class TrackerChoice:
    """Which tracker, and how it is set: all that a user may say about it.

    Attributes:
        name: one of `TRACKERS`.
        preset: "default": our best; "reference": the published program to the last digit, with frames for a clock.
        settings: texts name=value, of the fields of `ByteTrackOptions` or `OcSortOptions`; in preset reference
            of `ByteTrackReferenceOptions` or `OcSortReferenceOptions`.
        backend: one of `BACKENDS`; the answers are the same. "auto" takes the native one where it is built.

    Raises:
        UsageError: no such tracker, preset or backend; names the nearest and all.
    """

    name: str = "bytetrack"
    preset: str = "default"
    settings: tuple[str, ...] = ()
    backend: str = "auto"

    def __post_init__(self) -> None:
        one_of("tracker", self.name, TRACKERS)
        one_of("preset", self.preset, PRESETS)
        one_of("backend", self.backend, BACKENDS)

    def __str__(self) -> str:
        return self.name if self.preset == "default" else f"{self.name} {self.preset}"

    @property
    def native(self) -> bool:
        """Is the native one wanted?"""
        return NATIVE if self.backend == "auto" else self.backend == "native"


def build_tracker(
    choice: TrackerChoice | None = None,
    interval_s: float = 0.0,
    score: float | None = None,
    ids: TrackIds | None = None,
) -> Tracker:
    """Returns a new tracker.

    Args:
        choice: ByteTrack with its defaults, where left out.
        interval_s: usual time between two frames, seconds; 0: not known.
        score: least score of a detection that begins a track, in [0, 1]; fainter ones, down to 0.1, keep it alive.
            Left out, it is the tracker's own; the choice's settings win; preset reference knows only settings.
        ids: of its own, where left out.

    Raises:
        UsageError: a setting is unknown or out of range, or there is no native build here.
    """
    choice, ids = choice or TrackerChoice(), ids or TrackIds()
    if choice.preset == "reference":
        return SteppedTracker(build_stepper(choice, 1 / (interval_s or _USUAL_S), ids), ids)
    life = {"lost_s": max(ByteTrackOptions().lost_s, _LEAST_INTERVALS * interval_s)}
    if choice.name == "ocsort":
        scores = {} if score is None else {"det_score": score, "low_score": min(OcSortOptions().low_score, score)}
        oc_sort = options_of(OcSortOptions, choice.settings, str(choice), life | scores)
        return NativeOcSort(oc_sort, ids) if choice.native else OcSort(oc_sort, ids)
    low = min(ByteTrackOptions().low_score, score or 0)
    scores = {} if score is None else {"high_score": score, "new_score": score, "low_score": low}
    byte_track = options_of(ByteTrackOptions, choice.settings, str(choice), life | scores)
    return NativeByteTrack(byte_track, ids) if choice.native else ByteTrack(byte_track, ids)


def build_stepper(choice: TrackerChoice, fps: float, ids: TrackIds | None = None) -> FrameStepper:
    """Returns a new tracker of preset reference.

    Args:
        choice: its preset is not looked at.
        fps: usual frames a second; scales ByteTrack's track_buffer unless frame_rate is set.
        ids: of its own, where left out.

    Raises:
        UsageError: a setting is unknown or out of range, or there is no native build here.
    """
    what = f"{choice.name}, preset reference"
    if choice.name == "ocsort":
        oc_sort = options_of(OcSortReferenceOptions, choice.settings, what)
        return NativeOcSortReference(oc_sort, ids) if choice.native else OcSortReference(oc_sort, ids)
    byte_track = options_of(ByteTrackReferenceOptions, choice.settings, what, {"frame_rate": fps})
    return NativeByteTrackReference(byte_track, ids) if choice.native else ByteTrackReference(byte_track, ids)
