"""The road of one input: decode, detect, track, write, each in its own threads, joined by bounded channels.

    decode ──> detect (workers) ──> track ──> one thread a sink
    1 thread   results in order     caller

Nothing here knows files, models or screens: a source, a detector, a tracker and sinks come in, counts come out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from watchline.detectors.detector import Detector
from watchline.pipeline.channel import Channel
from watchline.pipeline.companions import Companion
from watchline.pipeline.findings import Findings
from watchline.pipeline.stopwatch import Stopwatch
from watchline.streams.frame import Frame
from watchline.streams.rate import FixedRate
from watchline.streams.source import Source
from watchline.trackers.tracker import Tracker
from watchline.trackers.tracks import Tracks

_SINK_WAITING = 2  # frames that may wait for a slow sink; each holds a decoded picture


class Sink(Protocol):
    """Takes results, frame after frame, in a thread of its own."""

    @property
    def name(self) -> str:
        """The stage's name in the table of times."""

    def write(self, frame: Frame, findings: Findings, tracks: Tracks) -> None:
        """Takes the results of one frame.

        Raises:
            OutputError: they cannot be written.
        """

    def close(self) -> None:
        """Finishes what was written; called once, also after a failure."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames of an input are processed; all are decoded.

    Attributes:
        every: one frame in this many.
        fps: at most this many frames a second of the input's own time; 0 for no limit.
        most: stop after this many processed frames; 0 for no limit.
    """

    every: int = 1
    fps: float = 0.0
    most: int = 0

    def interval_s(self, fps: float) -> float:
        """Returns the usual time between two processed frames of an input of `fps` frames a second, seconds.

        >>> Sampling(every=2).interval_s(25), Sampling(fps=0.5).interval_s(25)
        (0.08, 2.0)
        """
        return max(self.every / fps, 1 / self.fps if self.fps else 0.0)

    def chooser(self) -> Callable[[int, float], bool]:
        """Returns a function of a frame's index and pts_s, to be asked for each frame in order: is it processed?"""
        rate = FixedRate(self.fps)

        def chooses(index: int, pts_s: float) -> bool:
            return index % self.every == 0 and rate.chooses(pts_s)

        return chooses


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the road is, after each processed frame."""

    decoded: int
    processed: int
    pts_s: float
    tracks: int


@dataclass(frozen=True, slots=True)
class RoadReport:
    """What went down the road: decoded = processed + the sum of dropped, exactly.

    Attributes:
        decoded: frames read from the source.
        processed: frames detected, tracked and written.
        dropped: frames not processed, by reason: "sampling", "failure".
        cancelled: the caller's `stop` left frames unread.
        error: what ended the road early; None where the input ended or the caller stopped it.
    """

    decoded: int
    processed: int
    dropped: dict[str, int]
    cancelled: bool
    error: Exception | None


_Pending: TypeAlias = tuple[list[Frame], "Future[list[Findings]]"]
_Result: TypeAlias = tuple[Frame, Findings, Tracks]


class Road:
    """Runs one input through to its sinks.

    Args:
        source: where frames come from; closed by the caller.
        detector: finds what is tracked; shared by the workers.
        tracker: of this input alone.
        sinks: each gets every processed frame, in order.
        sampling: which frames are processed.
        workers: detections under way at once.
        batch: frames handed to the detector together.
        stop: when set, no more frames are read, and what is under way is finished and written.
        on_progress: called after each processed frame, in the caller's thread.
        watch: sums the times of "decode", "detect", each companion's task, "track" and each sink's name.
        companions: what adds to the detector's findings, one after the other, on the same frames.
    """

    def __init__(
        self,
        source: Source,
        detector: Detector,
        tracker: Tracker,
        sinks: Sequence[Sink],
        *,
        sampling: Sampling,
        workers: int,
        batch: int,
        stop: threading.Event,
        on_progress: Callable[[Progress], None],
        watch: Stopwatch,
        companions: Sequence[Companion] = (),
    ) -> None:
        self._source = source
        self._detector = detector
        self._tracker = tracker
        self._sinks = sinks
        self._sampling = sampling
        self._workers = workers
        self._batch = batch
        self._stop = stop
        self._on_progress = on_progress
        self._watch = watch
        self._companions = companions
        self._failed = threading.Event()  # the road's own stop; the caller's stays the caller's
        self._errors: list[Exception] = []
        self._closing = {id(sink): threading.Lock() for sink in sinks}
        self._closed: set[int] = set()
        self._decoded = self._skipped = 0
        self._cancelled = False

    def run(self) -> RoadReport:
        """Runs to the end of the input, to `stop`, or to the first failure; what was processed stays written."""
        pending = Channel[_Pending](self._workers + 1)
        outlets = [Channel[_Result](_SINK_WAITING) for _ in self._sinks]
        writers = [
            threading.Thread(target=self._write, args=(sink, outlet), name=f"write-{sink.name}")
            for sink, outlet in zip(self._sinks, outlets, strict=True)
        ]
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="detect")
        reader = threading.Thread(target=self._read, args=(pool, pending), name="decode")
        try:
            for thread in (reader, *writers):
                thread.start()
            processed = self._track(pending, outlets)
        finally:  # all are told to end before the first is waited for: an interrupt may come here, too
            self._failed.set()
            pending.abandon()
            for outlet in outlets:
                outlet.close()
            _join(reader)
            pool.shutdown(cancel_futures=True)
            for writer in writers:
                _join(writer)
            for sink in self._sinks:  # of a writer that an interrupt kept from starting
                self._close(sink)
        dropped = {"sampling": self._skipped, "failure": self._decoded - self._skipped - processed}
        return RoadReport(
            decoded=self._decoded,
            processed=processed,
            dropped={reason: count for reason, count in dropped.items() if count},
            cancelled=self._cancelled,
            error=self._errors[0] if self._errors else None,
        )

    def _fail(self, error: Exception) -> None:
        self._errors.append(error)
        self._failed.set()

    def _frames(self) -> Iterator[Frame]:
        """Yields the frames to process."""
        chosen = 0
        chooses = self._sampling.chooser()
        while not self._failed.is_set():
            if self._stop.is_set():
                self._cancelled = True
                return
            with self._watch.stage("decode"):
                frame = self._source.read()
            if frame is None:
                return
            index = self._decoded
            self._decoded += 1
            if not chooses(index, frame.pts_s):
                self._skipped += 1
                continue
            yield frame
            chosen += 1
            if chosen == self._sampling.most:
                return

    def _read(self, pool: ThreadPoolExecutor, pending: Channel[_Pending]) -> None:
        try:
            batch: list[Frame] = []
            for frame in self._frames():
                batch.append(frame)
                if len(batch) == self._batch:
                    pending.put((batch, pool.submit(self._detect, batch)))
                    batch = []
            if batch:
                pending.put((batch, pool.submit(self._detect, batch)))
        except Exception as error:  # noqa: BLE001  # handed to the caller in RoadReport.error
            self._errors.append(error)  # not a failure of the road: what was read before is still processed
        finally:
            pending.close()

    def _detect(self, frames: list[Frame]) -> list[Findings]:
        with self._watch.stage("detect"):
            findings = [Findings(detections) for detections in self._detector.detect(frames)]
        for companion in self._companions:
            with self._watch.stage(companion.task):
                findings = companion.add(frames, findings)
        return findings

    def _track(self, pending: Channel[_Pending], outlets: Sequence[Channel[_Result]]) -> int:
        processed = 0
        for frames, future in pending:
            try:
                results = future.result()
                for frame, findings in zip(frames, results, strict=True):
                    with self._watch.stage("track"):
                        tracks = self._tracker.update(findings.detections, frame.pts_s)
                    if self._failed.is_set():
                        break
                    for outlet in outlets:
                        outlet.put((frame, findings, tracks))
                    processed += 1
                    self._on_progress(Progress(self._decoded, processed, frame.pts_s, len(tracks)))
            except Exception as error:  # noqa: BLE001  # handed to the caller in RoadReport.error
                self._fail(error)
                break
        return processed

    def _write(self, sink: Sink, outlet: Channel[_Result]) -> None:
        try:
            for frame, findings, tracks in outlet:
                with self._watch.stage(sink.name):
                    sink.write(frame, findings, tracks)
        except Exception as error:  # noqa: BLE001  # handed to the caller in RoadReport.error
            self._fail(error)
        finally:
            outlet.abandon()
            self._close(sink)

    def _close(self, sink: Sink) -> None:
        """Closes a sink, once; another thread that does so already is waited for."""
        with self._closing[id(sink)]:
            if id(sink) in self._closed:
                return
            self._closed.add(id(sink))
            try:
                with self._watch.stage(sink.name):
                    sink.close()
            except Exception as error:  # noqa: BLE001  # handed to the caller in RoadReport.error
                self._fail(error)


def _join(thread: threading.Thread) -> None:
    """Waits for a thread; for none that has not begun: an interrupt may have kept it from that."""
    if thread.ident is not None:
        thread.join()
