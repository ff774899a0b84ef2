"""Which cameras are left out, for the detector fails on their frames alone."""

from __future__ import annotations

from watchline.pipeline.live.suspects import Suspects


def test_nobody_is_left_out_where_the_device_fails_for_all() -> None:
    suspects = Suspects()
    for _ in range(20):
        suspects.failed(["east", "west"])
    assert not suspects.is_out("east")
    suspects.worked(["east"])
    suspects.failed(["west"])
    assert not suspects.is_out("west"), "one failure beside those of the device"


def test_one_frame_that_works_clears_its_camera() -> None:
    suspects = Suspects()
    for _ in range(10):
        suspects.failed(["east"])
        suspects.worked(["west"])
        suspects.failed(["east"])
        suspects.worked(["east"])
    assert not suspects.is_out("east")


def test_after_the_pause_one_more_failure_is_enough_until_a_frame_works() -> None:
    now_s = 0.0
    suspects = Suspects(most=3, pause_s=60, clock=lambda: now_s)
    for _ in range(3):
        assert not suspects.is_out("odd")
        suspects.failed(["odd"])
        suspects.worked(["usual"])
    assert suspects.is_out("odd")
    now_s = 60.0
    assert not suspects.is_out("odd")
    suspects.failed(["odd"])
    assert suspects.is_out("odd")
    now_s = 120.0
    suspects.worked(["odd", "usual"])
    suspects.failed(["odd"])
    assert not suspects.is_out("odd")
