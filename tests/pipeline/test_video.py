"""The annotated video: every frame at its time, whole at every moment, and errors that name the file."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from watchline.pipeline.video import VideoWriter
from watchline.streams.errors import OutputError
from watchline.streams.frame import U8

RANDOM = np.random.default_rng(0)

WRITE_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from watchline.pipeline.video import VideoWriter
video = VideoWriter(Path(sys.argv[1]), 30.0)
noise = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
for i in range(int(sys.argv[2])):
    video.write(np.roll(noise, i, axis=1), i / 30)
print("written", flush=True)
sys.stdin.read()
"""

WRITE_TO_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from watchline.pipeline.video import VideoWriter
from watchline.streams.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
video = VideoWriter(Path(sys.argv[1]), 30.0)
random = np.random.default_rng(0)
try:
    for i in range(500):
        video.write(random.integers(0, 255, (90, 160, 3), dtype=np.uint8), i / 30)
except OutputError as error:
    print(error)
video.close()
video.close()
"""


def noise(height: int = 90, width: int = 160) -> U8:
    return RANDOM.integers(0, 255, (height, width, 3), dtype=np.uint8)


def write(path: Path, pictures: list[U8], times_s: list[float]) -> None:
    video = VideoWriter(path, 30.0)
    for picture, pts_s in zip(pictures, times_s, strict=True):
        video.write(picture, pts_s)
    video.close()
    video.close()


def read(path: Path) -> tuple[list[U8], list[float]]:
    with av.open(f"file:{path}") as container:
        frames = list(container.decode(video=0))
    return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames], [
        float(frame.time or 0.0) for frame in frames
    ]


def test_every_frame_comes_back_at_its_own_time(tmp_path: Path) -> None:
    times_s = [0.0, 0.04, 0.5, 0.52, 3.0]
    write(tmp_path / "a.mp4", [noise() for _ in times_s], times_s)
    assert np.allclose(read(tmp_path / "a.mp4")[1], times_s, atol=1e-4)


def test_the_finished_file_says_how_long_it_is(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [noise() for _ in range(5)], [0.0, 0.04, 0.5, 0.52, 3.0])
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.duration is not None
        assert 3.0 <= container.duration / av.time_base <= 3.1


def test_a_late_first_frame_is_the_start(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [noise(), noise()], [3600.0, 3600.1])
    assert np.allclose(read(tmp_path / "a.mp4")[1], [0.0, 0.1], atol=1e-4)


def test_frames_of_the_same_time_are_all_kept(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [noise() for _ in range(4)], [0.0, 0.0, 0.0, 0.1])
    times_s = read(tmp_path / "a.mp4")[1]
    assert len(times_s) == 4
    assert all(a < b for a, b in pairwise(times_s))


def test_colours_are_those_that_went_in_and_the_file_says_by_which_matrix(tmp_path: Path) -> None:
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[:, :640], picture[:, 640:] = (200, 30, 30), (30, 200, 30)
    write(tmp_path / "a.mp4", [picture] * 3, [0.0, 0.1, 0.2])
    (first, *_), _ = read(tmp_path / "a.mp4")
    assert np.abs(first[300, [100, 1000]].astype(int) - [[200, 30, 30], [30, 200, 30]]).max() <= 6
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.colorspace == 5  # ITU-R BT.601, in H.273's numbers


@pytest.mark.parametrize(
    ("size", "written"),
    [
        ((91, 161), (92, 162)),
        ((1, 1), (16, 16)),
        ((4000, 3), (1920, 16)),
        ((272, 640), (272, 640)),
        ((100, 3840), (50, 1920)),
    ],
)
def test_sizes_are_made_even_and_no_larger_than_1920(
    tmp_path: Path, size: tuple[int, int], written: tuple[int, int]
) -> None:
    write(tmp_path / "a.mp4", [noise(*size)] * 2, [0.0, 0.1])
    assert read(tmp_path / "a.mp4")[0][0].shape[:2] == written


def test_a_frame_of_another_size_is_fitted_into_the_first_with_black_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [noise(), np.full((160, 90, 3), 200, np.uint8)], [0.0, 0.1])
    second = read(tmp_path / "a.mp4")[0][1]
    assert second.shape == (90, 160, 3)
    assert second[45, 80].min() > 180
    assert second[45, 5].max() < 20


def test_a_killed_process_leaves_a_video_that_plays(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(path), "300"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"written"
        process.kill()
    played: list[float] = []
    # The kill may have come in the middle of a picture.
    with av.open(str(path)) as container, suppress(av.error.InvalidDataError):
        played.extend(float(frame.time or 0.0) for frame in container.decode(video=0))
    assert len(played) >= 180  # of 300; the last two seconds were not out yet
    assert abs(played[0]) < 1e-3


def test_a_disk_that_fills_up_is_named_and_closing_is_safe(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    command = [sys.executable, "-c", WRITE_TO_A_FULL_DISK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{path}: cannot write" in done.stdout
    with av.open(str(path)) as container, suppress(av.error.InvalidDataError):
        assert next(container.decode(video=0)).pts == 0  # what was written till then plays


def test_a_disk_that_is_full_from_the_start_is_named_and_closing_is_safe(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.symlink_to("/dev/full")
    video = VideoWriter(path, 30.0)
    with pytest.raises(OutputError, match=r"a\.mp4: cannot write \(no space left on device\)"):
        for i in range(200):
            video.write(noise(), i / 30)
    video.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    video = VideoWriter(tmp_path / "none" / "a.mp4", 30.0)
    with pytest.raises(OutputError, match=r"none/a\.mp4: cannot write"):
        video.write(noise(), 0.0)
    video.close()


def test_a_folder_whose_name_looks_like_a_protocol_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cam:1").mkdir()
    write(Path("cam:1/a.mp4"), [noise()] * 3, [0.0, 0.1, 0.2])
    assert len(read(Path("cam:1/a.mp4"))[0]) == 3


def test_without_a_frame_there_is_no_file(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "a.mp4", 30.0).close()
    assert not (tmp_path / "a.mp4").exists()
