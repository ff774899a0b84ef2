from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from tests.fakes import (
    OneTrackTracker,
    RecordingSink,
    ScriptedDetector,
    ScriptedSource,
    make_detections,
    make_frame,
)
from watchline.detectors.detections import Detections
from watchline.pipeline.graph import Progress, Road, RoadReport, Sampling
from watchline.pipeline.stopwatch import Stopwatch
from watchline.streams.errors import OutputError, StreamError
from watchline.streams.frame import Frame
from watchline.streams.source import Source


def drive(
    source: Source,
    *sinks: RecordingSink,
    detector: ScriptedDetector | None = None,
    sampling: Sampling | None = None,
    workers: int = 2,
    batch: int = 1,
    stop: threading.Event | None = None,
    progress: list[Progress] | None = None,
) -> RoadReport:
    seen: list[Progress] = [] if progress is None else progress
    return Road(
        source,
        detector or ScriptedDetector(lambda frame: make_detections((0, 0, 5 + frame.sequence % 7, 5))),
        OneTrackTracker(),
        sinks,
        sampling=sampling or Sampling(),
        workers=workers,
        batch=batch,
        stop=stop or threading.Event(),
        on_progress=seen.append,
        watch=Stopwatch(),
    ).run()


def frames(count: int, fps: float = 25.0) -> list[Frame]:
    return [make_frame(i, fps=fps) for i in range(count)]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 3, 50])
def test_results_arrive_in_order_whatever_the_workers_and_the_batch(workers: int, batch: int) -> None:
    sink, twin = RecordingSink(), RecordingSink()
    report = drive(ScriptedSource(frames(40)), sink, twin, workers=workers, batch=batch)
    assert sink.frames == twin.frames == list(range(40))
    assert (report.decoded, report.processed, report.dropped, report.cancelled) == (40, 40, {}, False)
    assert report.error is None
    assert sink.closed == 1


def test_workers_detect_at_the_same_time() -> None:
    detector = ScriptedDetector(lambda frame: Detections.empty(), delay_s=0.02)
    drive(ScriptedSource(frames(12)), detector=detector, workers=3)
    assert detector.most_under_way == 3


def test_an_input_without_frames_gives_nothing_and_no_error() -> None:
    sink = RecordingSink()
    report = drive(ScriptedSource([]), sink)
    assert (report.decoded, report.processed, report.error, sink.frames, sink.closed) == (0, 0, None, [], 1)


@pytest.mark.parametrize(
    ("sampling", "want"),
    [
        (Sampling(every=3), [0, 3, 6, 9]),
        (Sampling(most=4), [0, 1, 2, 3]),
        (Sampling(every=2, most=3), [0, 2, 4]),
        (Sampling(fps=5), [0, 5]),  # of 25
        (Sampling(fps=10), [0, 3, 5, 8]),  # 2.5 frames apart: the mean rate holds
        (Sampling(fps=100), list(range(10))),
    ],
)
def test_sampling_chooses_frames_and_counts_the_rest(sampling: Sampling, want: list[int]) -> None:
    sink = RecordingSink()
    report = drive(ScriptedSource(frames(10)), sink, sampling=sampling)
    assert sink.frames == want
    assert report.decoded == report.processed + sum(report.dropped.values())


def test_sampling_by_rate_keeps_the_mean_rate_of_a_long_odd_input() -> None:
    sink = RecordingSink()
    drive(ScriptedSource(frames(3000, fps=29.97)), sink, sampling=Sampling(fps=10))
    assert abs(len(sink.frames) - 3000 / 29.97 * 10) <= 1


def test_stopping_finishes_what_is_under_way_and_reads_no_more() -> None:
    stop = threading.Event()

    def stopping() -> Iterator[Frame]:
        for i in itertools.count():
            if i == 20:
                stop.set()
            yield make_frame(i)

    sink = RecordingSink()
    report = drive(ScriptedSource(stopping()), sink, stop=stop)
    assert report.error is None
    assert report.cancelled
    assert report.decoded == report.processed == 21
    assert sink.frames == list(range(21))
    assert sink.closed == 1


def test_a_source_that_fails_in_the_middle_keeps_what_came_before() -> None:
    error = StreamError("the disk fell out")
    sink = RecordingSink()
    report = drive(ScriptedSource([*frames(10), error]), sink)
    assert sink.frames == list(range(10))
    assert report.error is error


def test_a_detector_that_fails_ends_the_road_and_counts_what_was_lost() -> None:
    def script(frame: Frame) -> Detections:
        if frame.sequence == 7:
            raise RuntimeError("no more memory")
        return Detections.empty()

    sink = RecordingSink()
    report = drive(ScriptedSource(frames(1000)), sink, detector=ScriptedDetector(script))
    assert sink.frames == list(range(7))
    assert str(report.error) == "no more memory"
    assert report.decoded == report.processed + report.dropped["failure"]
    assert report.decoded < 50


def test_a_sink_that_fails_ends_the_road_and_closes_the_others() -> None:
    broken, healthy = RecordingSink(fail_at=5, error=OutputError("disk full")), RecordingSink()
    report = drive(ScriptedSource(make_frame(i) for i in itertools.count()), broken, healthy)
    assert isinstance(report.error, OutputError)
    assert healthy.frames == list(range(len(healthy.frames)))
    assert (broken.closed, healthy.closed) == (1, 1)


def test_an_interrupt_in_the_callers_thread_leaves_no_thread_behind() -> None:
    def interrupt(progress: Progress) -> None:
        if progress.processed == 3:
            raise KeyboardInterrupt

    sink = RecordingSink()
    road = Road(
        ScriptedSource(make_frame(i) for i in itertools.count()),
        ScriptedDetector(lambda frame: Detections.empty()),
        OneTrackTracker(),
        [sink],
        sampling=Sampling(),
        workers=2,
        batch=1,
        stop=threading.Event(),
        on_progress=interrupt,
        watch=Stopwatch(),
    )
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        road.run()
    assert threading.active_count() == before
    assert sink.closed == 1


@pytest.mark.parametrize("struck", ["decode", "write-record"])
@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_while_threads_start_leaves_none_behind(
    struck: str, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, before = threading.Thread.start, threading.active_count()

    def interrupted(thread: threading.Thread) -> None:
        if thread.name != struck or begun:
            start(thread)
        if thread.name == struck:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    sinks = RecordingSink(), RecordingSink()
    with pytest.raises(KeyboardInterrupt):
        drive(ScriptedSource(make_frame(i) for i in itertools.count()), *sinks)
    assert threading.active_count() == before
    assert [sink.closed for sink in sinks] == [1, 1]


def test_a_slow_sink_holds_the_source_back() -> None:
    release = threading.Event()

    class Slow(RecordingSink):
        def write(self, frame: Frame, *rest: object) -> None:
            release.wait(10)
            self.frames.append(frame.sequence)

    source = ScriptedSource(frames(500))
    sink = Slow()
    waiting: list[int] = []

    def look() -> None:
        waiting.append(source.read_count)
        release.set()

    threading.Timer(0.3, look).start()
    drive(source, sink, workers=2, batch=4)
    assert sink.frames == list(range(500))
    assert waiting[0] < 50, "frames in flight must be bounded"


def test_progress_is_told_after_every_processed_frame() -> None:
    told: list[Progress] = []
    drive(ScriptedSource(frames(5)), progress=told)
    assert [p.processed for p in told] == [1, 2, 3, 4, 5]
    assert told[-1].tracks == 1
