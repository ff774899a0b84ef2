"""How long to wait before the next try: longer after each failure, never in step with other cameras."""

from __future__ import annotations

from random import Random

LEAST_DELAY_S = 1.0
MOST_DELAY_S = 30.0
HEALTHY_AFTER_S = 60.0
MOST_AUTH_DELAY_S = 300.0  # cameras lock an account that keeps trying a wrong password


class Backoff:
    """Delays that double from `least_s` to `most_s`, each moved by up to a fifth; a healthy connection starts anew.

    >>> backoff = Backoff(Random(0), least_s=1.0, most_s=4.0)
    >>> [round(backoff.failed(healthy_s=0.0)) for _ in range(5)]
    [1, 2, 4, 4, 4]
    """

    def __init__(
        self,
        random: Random,
        least_s: float = LEAST_DELAY_S,
        most_s: float = MOST_DELAY_S,
        healthy_after_s: float = HEALTHY_AFTER_S,
    ) -> None:
        self._random = random
        self._least_s = least_s
        self._most_s = most_s
        self._healthy_after_s = healthy_after_s
        self._tries = 0

    def failed(self, healthy_s: float, most_s: float | None = None) -> float:
        """Returns the delay before the next try, seconds.

        Args:
            healthy_s: for how long the connection that failed now had given pictures.
            most_s: another longest delay, for this failure.
        """
        if healthy_s >= self._healthy_after_s:
            self._tries = 0
        most_s = most_s or self._most_s
        delay_s = min(most_s, self._least_s * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return min(most_s, max(self._least_s, delay_s * self._random.uniform(0.8, 1.2)))
