"""The seam to everything that follows objects, and the source of track ids."""

from __future__ import annotations

from typing import Protocol

from watchline.detectors.detections import Detections
from watchline.trackers.state import TrackerState
from watchline.trackers.tracks import Tracks


class TrackIds:
    """Gives one camera's track ids: 1, 2, 3, ...; owned by one tracker, never shared, never reused.

    >>> ids = TrackIds()
    >>> ids.next(), ids.next()
    (1, 2)
    """

    def __init__(self, first: int = 1) -> None:
        self._next = first

    @property
    def upcoming(self) -> int:
        """The id that `next` will give."""
        return self._next

    def next(self) -> int:
        """Returns an id that was never given before."""
        given = self._next
        self._next += 1
        return given

    def skip_to(self, first: int) -> None:
        """Gives no id below `first` from now on."""
        self._next = max(self._next, first)


class Tracker(Protocol):
    """Follows the objects of one camera. One tracker a camera; used by one thread at a time."""

    @property
    def backend(self) -> str:
        """What does the work: "python" or "native"."""

    def update(self, detections: Detections, time_s: float) -> Tracks:
        """Takes one frame's detections and returns the tracks seen in it.

        To be called for every frame, empty ones too.

        Args:
            detections: what was found; may be empty; never changed.
            time_s: the frame's pts, seconds; greater than at the call before.

        Returns:
            The confirmed tracks that this frame's detections belong to, in the tracker's own order. Where coasting
            was asked for (option `coast_s`), confirmed tracks that are unseen for so long at most, too: state LOST,
            detection -1, and the box where the tracker expects it now.

        Raises:
            ValueError: time stands still or runs backwards.
        """

    def reset(self) -> None:
        """Forgets every track; the ids go on."""

    def save(self) -> TrackerState:
        """Returns all that is known now, to go on from after a restart. The tracker goes on, too."""

    def restore(self, state: TrackerState) -> None:
        """Forgets every track and goes on from `state`, which any backend of the same kind of tracker saved.

        The next update must be later than `state.now_s`; see `TrackerState.moved_to`. No id is given twice: ids go
        on from the saved or from this tracker's own, whichever is higher. Options are not part of a state.

        Raises:
            UsageError: `state` is of another kind of tracker, of another version, or damaged; nothing has changed.
        """
