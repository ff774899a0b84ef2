"""Warm-up: what a network needs for its first pictures is got ready before a clock runs or a camera waits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from watchline.detectors.engine import GREY, Engine
from watchline.streams.errors import ModelError


def warm_up(engine: Engine, size: tuple[int, int], workers: int = 1, batch: int = 1) -> None:
    """Runs grey pictures of the size to come: compiles the network for it, and allocates what each worker needs.

    An engine that can fall to another device does so here like anywhere; what has warmed up is then the other one.

    Args:
        engine: what to warm up.
        size: height and width of the input, pixels; ignored where the engine fixes them.
        workers: calls that will be under way at once, at least 1.
        batch: pictures a call.

    Raises:
        ModelError: no device could run it, or the system starts no more threads.
    """
    picture = np.full((batch if engine.card.batched else 1, 3, *(engine.fixed_size or size)), GREY, np.float32)
    engine.run(picture)  # alone: what is to be compiled is compiled once
    if workers > 1:
        together = Barrier(workers)

        def work() -> None:
            together.wait()
            engine.run(picture)

        with ThreadPoolExecutor(workers, thread_name_prefix="watchline-warm") as pool:
            try:
                under_way = [pool.submit(work) for _ in range(workers)]
            except RuntimeError as error:
                together.abort()  # or those that have started would wait for the others for ever
                raise ModelError(f"{workers} threads cannot be started ({error}); use fewer --threads") from error
            for done in under_way:
                done.result()
