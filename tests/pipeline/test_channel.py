from __future__ import annotations

import threading

import pytest

from watchline.pipeline.channel import Channel


def test_items_arrive_in_order_and_the_end_is_told() -> None:
    channel = Channel[int](2)
    taken: list[int] = []
    taker = threading.Thread(target=lambda: taken.extend(channel))
    taker.start()
    for i in range(100):
        assert channel.put(i)
    channel.close()
    taker.join(5)
    assert taken == list(range(100))


def test_a_full_channel_makes_the_giver_wait() -> None:
    channel = Channel[int](1)
    channel.put(1)
    blocked = threading.Thread(target=channel.put, args=(2,))
    blocked.start()
    blocked.join(0.1)
    assert blocked.is_alive()
    assert next(iter(channel)) == 1
    blocked.join(5)
    assert not blocked.is_alive()


@pytest.mark.parametrize("end", ["abandon", "close"])
def test_a_giver_never_waits_for_a_taker_that_is_gone(end: str) -> None:
    channel = Channel[int](1)
    channel.put(1)
    answers: list[bool] = []
    blocked = threading.Thread(target=lambda: answers.append(channel.put(2)))
    blocked.start()
    getattr(channel, end)()
    blocked.join(5)
    assert answers == [False]
    assert list(channel) == ([] if end == "abandon" else [1])
