"""A bounded queue between two threads that can be closed by one side and abandoned by the other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """Hands items from one thread to another, at most `capacity` of them waiting.

    The giver calls `put` and, at the end, `close`; the taker iterates. A taker that fails calls `abandon`: what waits
    is dropped, and later puts are refused at once, so that no giver ever blocks on a taker that is gone.

    >>> channel = Channel[int](capacity=2)
    >>> channel.put(1), channel.close(), list(channel)
    (True, None, [1])
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> bool:
        """Waits for room and hands `item` over; returns False, item dropped, once the taker is gone."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """Says that nothing more will come; what waits is still handed over."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Says that nobody takes any more; what waits is dropped."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
