from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from tests.pipeline.live_outcomes import Hands, make_outcome, wait_until
from watchline.pipeline.annotate import track_colour
from watchline.pipeline.live.outcome import Outcome
from watchline.pipeline.live.viewing import TooManyViewersError, Viewing, ViewingSettings
from watchline.streams.errors import UsageError
from watchline.streams.frame import U8, Picture, PixelFormat

FAST = ViewingSettings(most_fps=1e6)


@pytest.fixture
def viewing() -> Iterator[Viewing]:
    viewing = Viewing(FAST)
    yield viewing
    viewing.close()
    assert not viewing._thread.is_alive()


def decoded(data: bytes) -> U8:
    import cv2

    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.asarray(bgr[:, :, ::-1], np.uint8)


def busy_picture(begun: threading.Event, go: threading.Event) -> Picture:
    """A picture that takes until `go` to convert."""

    def convert() -> U8:
        begun.set()
        assert go.wait(10)
        return np.zeros((48, 64, 3), np.uint8)

    return Picture(48, 64, PixelFormat.OTHER, (), convert)


def test_without_viewers_nothing_is_encoded_nor_held(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    for i in range(100):
        take(make_outcome(i, 1))
    time.sleep(0.05)
    status = viewing.status()
    assert (status.encoded, status.skipped, status.viewers) == (0, 0, {"cam": 0})


def test_a_viewer_sees_the_frame_with_its_boxes_and_ids(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    with viewing.watch("cam") as watch:
        take(make_outcome(3, 7, size=(480, 640)))
        picture = watch.next(0, 5)
        assert picture
        assert (picture.camera, picture.sequence, picture.width, picture.height) == ("cam", 3, 640, 480)
        rgb = decoded(picture.data)
        assert rgb.shape == (480, 640, 3)
        assert np.abs(rgb[470, 630].astype(int) - 90).max() < 12, "the frame is there"
        edge = np.abs(rgb[:60, :60].astype(int) - track_colour(7)).sum(axis=2)
        assert edge.min() < 80, "the box is there, in the colour of its track"


def test_large_pictures_are_scaled_and_the_boxes_with_them(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    with viewing.watch("cam") as watch:
        outcome = make_outcome(0, 1, size=(2160, 3840))
        outcome.tracks.xyxy[:] = np.array([1500, 900, 2400, 1800], np.float32)
        take(outcome)
        picture = watch.next(0, 5)
    assert picture
    assert (picture.width, picture.height) == (1280, 720)
    rgb = decoded(picture.data).astype(int)
    assert np.abs(rgb[450, 500] - track_colour(1)).sum() < 120, "the left edge is at a third of 1500"
    assert np.abs(rgb[450, 600] - 90).max() < 12


def test_all_viewers_share_one_encoding(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    watches = [viewing.watch("cam") for _ in range(20)]
    take(make_outcome(0, 1))
    pictures = [watch.next(0, 5) for watch in watches]
    assert len({id(picture) for picture in pictures}) == 1
    assert viewing.status().encoded == 1
    assert viewing.status().viewers == {"cam": 20}
    for watch in watches:
        watch.close()
    assert viewing.status().viewers == {"cam": 0}


def test_a_slow_viewer_gets_the_newest_only(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    with viewing.watch("cam") as slow, viewing.watch("cam") as quick:
        after = 0
        for i in range(10):
            take(make_outcome(i, 1))
            picture = quick.next(after, 5)
            assert picture
            after = picture.number
        newest = slow.next(0, 0)
        assert newest
        assert newest.sequence == 9
        assert slow.next(newest.number, 0.01) is None


def test_of_frames_that_come_while_one_is_encoded_the_newest_is_next(viewing: Viewing) -> None:
    begun, go = threading.Event(), threading.Event()
    take = viewing.outlet("cam")
    with viewing.watch("cam") as watch:
        take(make_outcome(0, 1, picture=busy_picture(begun, go)))
        assert begun.wait(5)
        for i in range(1, 50):
            take(make_outcome(i, 1))
        go.set()
        first = watch.next(0, 5)
        assert first
        last = first if first.sequence == 49 else watch.next(first.number, 5)
        assert last
        assert last.sequence == 49
        assert (viewing.status().encoded, viewing.status().skipped) == (2, 48)


def test_frames_are_let_go_once_drawn(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    with viewing.watch("cam") as watch:
        outcome = make_outcome(0, 1)
        frame = weakref.ref(outcome.frame.rgb())
        take(outcome)
        assert watch.next(0, 5)
        del outcome
        wait_until(lambda: gc.collect() >= 0 and frame() is None)


def test_a_frame_that_waits_is_let_go_when_the_last_viewer_leaves(viewing: Viewing) -> None:
    begun, go = threading.Event(), threading.Event()
    take, other = viewing.outlet("cam"), viewing.outlet("other")
    with viewing.watch("other"), viewing.watch("cam"):
        other(make_outcome(0, 1, camera="other", picture=busy_picture(begun, go)))
        assert begun.wait(5)
        outcome = make_outcome(0, 1)
        frame = weakref.ref(outcome.frame.rgb())
        take(outcome)
        del outcome
        gc.collect()
        assert frame() is not None
    assert frame() is None
    go.set()


def test_more_frames_a_second_than_asked_for_are_skipped() -> None:
    steady = Hands(100.0)
    viewing = Viewing(ViewingSettings(most_fps=10), steady)
    take = viewing.outlet("cam")
    with viewing.watch("cam") as watch:
        after = 0
        for i in range(100):  # 25 a second
            before = viewing.status().skipped
            take(make_outcome(i, 1))
            if viewing.status().skipped == before:
                picture = watch.next(after, 5)
                assert picture
                after = picture.number
            steady.now += 0.04
        assert viewing.status().encoded == pytest.approx(40, abs=1)
        assert viewing.status().encoded + viewing.status().skipped == 100
    viewing.close()


def test_a_camera_with_many_frames_does_not_keep_others_from_their_turn(viewing: Viewing) -> None:
    begun, go = threading.Event(), threading.Event()
    takes = {name: viewing.outlet(name) for name in ("busy", "calm")}
    with viewing.watch("busy"), viewing.watch("calm") as calm:
        takes["busy"](make_outcome(0, 1, camera="busy", picture=busy_picture(begun, go)))
        assert begun.wait(5)
        takes["busy"](make_outcome(1, 1, camera="busy"))
        takes["calm"](make_outcome(0, 1, camera="calm"))
        for i in range(2, 9):
            takes["busy"](make_outcome(i, 1, camera="busy"))
        go.set()
        assert calm.next(0, 5)
        assert viewing.status().encoded <= 3


def test_a_snapshot_is_one_picture_and_costs_nothing_afterwards(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    given: list[bool] = []

    def frames() -> None:
        for i in range(200):
            take(make_outcome(i, 1))
            time.sleep(0.01)
            if given:
                return

    thread = threading.Thread(target=frames)
    thread.start()
    picture = viewing.snapshot("cam", 5)
    given.append(True)
    thread.join()
    assert picture
    assert decoded(picture.data).shape == (48, 64, 3)
    assert viewing.status().viewers == {"cam": 0}
    wait_until(lambda: not viewing._busy)  # the last frame that came while one looked
    encoded = viewing.status().encoded
    take(make_outcome(500, 1))
    time.sleep(0.05)
    assert viewing.status().encoded == encoded


def test_a_snapshot_of_a_camera_that_gives_nothing_ends_in_time(viewing: Viewing) -> None:
    viewing.outlet("cam")
    begun = time.monotonic()
    assert viewing.snapshot("cam", 0.1) is None
    assert time.monotonic() - begun < 2


def test_while_someone_looks_a_snapshot_is_the_newest_picture(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    with viewing.watch("cam") as watch:
        take(make_outcome(0, 1))
        newest = watch.next(0, 5)
        assert viewing.snapshot("cam", 0) is newest
        assert viewing.status().encoded == 1


def test_there_is_a_bound_on_viewers_and_the_refusal_says_so() -> None:
    viewing = Viewing(ViewingSettings(most_viewers=3))
    viewing.outlet("a")
    viewing.outlet("b")
    watches = [viewing.watch("a"), viewing.watch("a"), viewing.watch("b")]
    with pytest.raises(TooManyViewersError, match=r'camera "b": 3 look already, which is the most; close a view'):
        viewing.watch("b")
    with pytest.raises(TooManyViewersError):
        viewing.snapshot("a", 1)
    assert viewing.status().refused == 2
    watches[0].close()
    watches[0].close()
    viewing.watch("b").close()
    viewing.close()


def test_a_camera_that_is_not_there_is_refused(viewing: Viewing) -> None:
    viewing.outlet("dock-2")
    with pytest.raises(UsageError, match=r'camera "dock-3": there is none to look at; those are dock-2'):
        viewing.watch("dock-3")


def test_viewers_are_told_when_their_camera_is_removed(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    told = threading.Event()
    watch = viewing.watch("cam", told.set)
    seen: list[bytes] = []
    thread = threading.Thread(target=lambda: seen.extend(watch))
    thread.start()
    take(make_outcome(0, 1))
    wait_until(lambda: len(seen) == 1 and told.is_set())
    told.clear()
    viewing.remove("cam")
    thread.join(5)
    assert not thread.is_alive()
    assert told.is_set()
    assert watch.ended
    assert watch.next(0, 5) is None
    take(make_outcome(1, 1))  # a worker may be late
    assert viewing.status().viewers == {}
    watch.close()
    again = viewing.outlet("cam")
    with viewing.watch("cam") as fresh:
        again(make_outcome(0, 1))
        assert fresh.next(0, 5)


def test_whoever_waits_is_told_of_each_picture_by_a_call(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    calls: list[str] = []

    def broken() -> None:
        calls.append("broken")
        raise RuntimeError("Event loop is closed")

    with viewing.watch("cam", broken), viewing.watch("cam", lambda: calls.append("well")) as watch:
        first = None
        for i in range(3):
            take(make_outcome(i, 1))
            first = watch.next(first.number if first else 0, 5)
            assert first
        wait_until(lambda: calls.count("well") == 3)
        assert calls.count("broken") == 1


def test_a_picture_that_cannot_be_made_is_counted_and_the_next_is_made(viewing: Viewing) -> None:
    def broken() -> U8:
        raise OSError("no pixels")

    take = viewing.outlet("cam")
    with viewing.watch("cam") as watch:
        take(make_outcome(0, 1, picture=Picture(48, 64, PixelFormat.OTHER, (), broken)))
        wait_until(lambda: viewing.status().failed == 1)
        assert viewing.status().sentence == 'camera "cam": no picture could be made (no pixels)'
        take(make_outcome(1, 1))
        assert watch.next(0, 5)


def test_a_new_connection_a_new_size_and_new_classes_are_drawn(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    first: Outcome = make_outcome(50, 1)
    later = make_outcome(0, 1, pts_s=0.0)
    larger = make_outcome(1, 1, size=(96, 128), at=float("nan"))
    with viewing.watch("cam") as watch:
        after = 0
        for outcome in (first, later, larger):
            take(outcome)
            picture = watch.next(after, 5)
            assert picture, viewing.status()
            after = picture.number


def test_the_end_wakes_whoever_waits() -> None:
    viewing = Viewing(FAST)
    viewing.outlet("cam")
    watch = viewing.watch("cam")
    ended: list[object] = []
    thread = threading.Thread(target=lambda: ended.append(watch.next(0, 30)))
    thread.start()
    time.sleep(0.05)
    viewing.close()
    viewing.close()
    thread.join(5)
    assert ended == [None]
    with pytest.raises(UsageError):
        viewing.watch("cam")


def test_viewers_that_come_and_go_from_many_threads_leave_nothing(viewing: Viewing) -> None:
    take = viewing.outlet("cam")
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            with viewing.watch("cam") as watch:
                watch.next(0, 0.01)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for i in range(300):
        take(make_outcome(i, 1))
    stop.set()
    for thread in threads:
        thread.join(5)
    assert viewing.status().viewers == {"cam": 0}
    assert viewing._viewers == 0
    assert viewing._views["cam"].newest is None
    assert viewing._views["cam"].waiting is None
