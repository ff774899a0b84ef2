"""`python -m tests.bench.cameras_side SIDE`: reads cameras in one of the ways that are compared; settings on stdin."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from tests.kit import barcode
from watchline.streams.frame import U8
from watchline.streams.rate import FixedRate

Seen = Callable[[int, U8], None]
"""Takes the camera's place in the list, and its luma."""


def main() -> None:
    """Reads `urls` at `fps` until stdin closes; prints [camera, frame number, monotonic time] of each frame taken."""
    task: dict[str, Any] = json.loads(sys.stdin.readline())
    taken: list[tuple[int, int | None, float]] = []

    def seen(camera: int, luma: U8) -> None:
        taken.append((camera, barcode.read(luma), time.monotonic()))

    stop = threading.Event()
    threading.Thread(target=SIDES[sys.argv[1]], args=(task["urls"], task["fps"], seen, stop), daemon=True).start()
    sys.stdin.readline()
    stop.set()
    print(json.dumps(taken))
    sys.stdout.flush()
    os._exit(0)  # what it cost was read before; the end is not what is measured


def watchline_side(group_size: int, backend: str = "auto") -> Callable[[list[str], float, Seen, threading.Event], None]:
    """Returns ours, with so many cameras a process."""

    def read(urls: list[str], fps: float, seen: Seen, stop: threading.Event) -> None:
        from watchline.streams.address import Address
        from watchline.streams.camera_settings import Backend, CameraSettings
        from watchline.streams.ingest import Ingest
        from watchline.streams.ingest_settings import IngestSettings

        with Ingest(IngestSettings(group_size=group_size)) as ingest:
            for index, url in enumerate(urls):
                ingest.add(CameraSettings(str(index), Address.parse(url), Backend(backend), fps=fps))
            while not stop.is_set():
                frame = ingest.take(0.2)
                if frame is not None:
                    seen(int(frame.camera), frame.picture.planes[0])

    return read


def _threads(
    read: Callable[[str, float, Callable[[U8], None], threading.Event], None],
) -> Callable[[list[str], float, Seen, threading.Event], None]:
    """Returns the usual way: a thread a camera that leaves its newest picture for one that takes them."""

    def run(urls: list[str], fps: float, seen: Seen, stop: threading.Event) -> None:
        newest: dict[int, U8] = {}
        changed = threading.Condition()

        def keep(index: int) -> Callable[[U8], None]:
            def put(luma: U8) -> None:
                with changed:
                    newest[index] = luma
                    changed.notify()

            return put

        for index, url in enumerate(urls):
            threading.Thread(target=read, args=(url, fps, keep(index), stop), daemon=True).start()
        while not stop.is_set():
            with changed:
                changed.wait_for(lambda: newest, 0.2)
                ready = list(newest.items())
                newest.clear()
            for index, luma in ready:
                seen(index, luma)

    return run


def _pyav(url: str, fps: float, put: Callable[[U8], None], stop: threading.Event) -> None:
    import av

    options = {"rtsp_transport": "tcp", "fpsprobesize": "0", "analyzeduration": "100000"}
    rate = FixedRate(fps)
    with av.open(url, options=options, timeout=(10.0, 3.0)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            if stop.is_set():
                return
            if rate.chooses(frame.time if frame.pts is not None else 0.0):
                planes: U8 = frame.to_ndarray()  # type: ignore[assignment]  # I420
                put(planes[: frame.height])


def _opencv(url: str, fps: float, put: Callable[[U8], None], stop: threading.Event) -> None:
    import cv2

    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp|fpsprobesize;0|analyzeduration;100000"
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    rate = FixedRate(fps)
    while not stop.is_set() and capture.grab():
        if rate.chooses(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000):
            _, bgr = capture.retrieve()
            put(np.ascontiguousarray(bgr[:, :, 1]))


SIDES: Final = {
    "watchline": watchline_side(0),
    "watchline, 4 a process": watchline_side(4),
    "watchline, 8 a process": watchline_side(8),
    "watchline, 16 a process": watchline_side(16),
    "watchline, gstreamer": watchline_side(0, "gstreamer"),
    "PyAV": _threads(_pyav),
    "OpenCV": _threads(_opencv),
}


if __name__ == "__main__":
    main()
