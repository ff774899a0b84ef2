"""`watchline reid` on damaged, hostile and impossible input: a line for each, the right exit code, nothing half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.clips import Clip, write_clip
from tests.command import COMMAND, watchline
from tests.faults.test_pictures import encoded, png_of
from tests.pipeline.reid_models import person, save, write_tiny_embedder
from watchline.pipeline.cli.app import app
from watchline.reid.features import read_features
from watchline.streams.errors import WatchlineError

# The peak of a process begins with what the one that starts it holds: a small one, then, not this.
_MEASURED = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_embedder(tmp_path_factory.mktemp("model") / "colours.onnx")


def refused(*arguments: str | Path, out: Path, code: int) -> str:
    """Returns the one line that the command ends with; nothing is left behind."""
    before = sorted(out.parent.glob(f"{out.name}*")) if out.parent.is_dir() else []
    done = watchline("reid", "extract", *arguments, "--out", out)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("watchline: ")
    assert (sorted(out.parent.glob(f"{out.name}*")) if out.parent.is_dir() else []) == before
    return lines[0]


def test_hostile_pictures_beside_good_ones_are_named_and_take_no_memory(model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "crops", tmp_path / "people.npz"
    save(folder / "good 1.png", person("red"))
    save(folder / "good 2.jpg", person("green"))
    (folder / "a huge.png").write_bytes(png_of(30_000, 30_000))
    (folder / "b cut.jpg").write_bytes(encoded(".jpg")[:-200])
    (folder / "c empty.png").write_bytes(b"")
    (folder / "d text.webp").write_text("a letter")
    os.mkfifo(folder / "e pipe.jpg")
    command = [*COMMAND, "reid", "extract", str(folder), "--out", str(out), "--model", str(model)]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(tmp_path / "peak"), *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert int((tmp_path / "peak").read_text()) < 800 * 1024  # KiB; the picture alone would take 2.7 GB
    lines = done.stderr.splitlines()
    assert lines == [
        f"watchline: {folder}/a huge.png: is 30000x30000 pixels, more than 40 million; make it smaller",
        f"watchline: {folder}/b cut.jpg: is cut off: its end is missing",
        f"watchline: {folder}/c empty.png: is empty (0 bytes)",
        f"watchline: {folder}/d text.webp: is no JPEG, PNG, WebP or BMP picture",
        f"watchline: {folder}/e pipe.jpg: is no regular file",
    ]
    assert read_features(out).names.tolist() == ["good 1.png", "good 2.jpg"]


def test_where_no_picture_can_be_read_nothing_is_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    for number in range(23):
        (tmp_path / "crops" / f"{number}.jpg").write_bytes(b"no picture")
    out = tmp_path / "people.npz"
    done = watchline("reid", "extract", tmp_path / "crops", "--out", out, "--model", model)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 22
    assert lines[-2:] == [
        "watchline: and 3 more",
        "watchline: none of 23 pictures could be read; check the files",
    ]
    assert not out.exists()


def refused_here(*arguments: str | Path, out: Path, code: int) -> str:
    """Returns the one line that the command would end with, run in this process: nothing heavy is loaded for it."""
    with pytest.raises(WatchlineError) as refusal:
        app(["reid", "extract", *map(str, arguments), "--out", str(out)], standalone_mode=False)
    assert refusal.value.exit_code == code
    line = str(refusal.value)
    assert "\n" not in line
    return line


class TestOneLine:
    """What is refused before any model is looked for."""

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "none").mkdir()
        line = refused(tmp_path / "none", out=tmp_path / "people.npz", code=1)
        assert f"{tmp_path}/none: the folder holds no picture" in line

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        line = refused_here(tmp_path / "gone.jpg", out=tmp_path / "people.npz", code=1)
        assert "gone.jpg: cannot be read (no such file or directory); check the name" in line

    def test_a_list_that_makes_no_sense(self, tmp_path: Path) -> None:
        (tmp_path / "list.csv").write_text("path,x1,y1,x2,y2\nme.png,1,2,3,\n")
        line = refused_here(tmp_path / "list.csv", out=tmp_path / "people.npz", code=1)
        assert "list.csv: line 2: the box is 1, 2, 3, ?; want x1, y1, x2 and y2" in line

    def test_features_in_place_of_pictures(self, tmp_path: Path) -> None:
        line = refused_here(tmp_path / "known.npz", out=tmp_path / "people.npz", code=2)
        assert "known.npz: a file of features already; name pictures or videos" in line

    def test_a_file_that_is_there_is_kept(self, tmp_path: Path) -> None:
        out = tmp_path / "people.npz"
        out.write_text("precious")
        line = refused_here(tmp_path, out=out, code=2)
        assert "is there already; choose another, or replace it with --overwrite" in line
        assert out.read_text() == "precious"

    @pytest.mark.parametrize(
        ("out", "code", "says"),
        [
            ("people.txt", 2, "want a name that ends in .npz"),
            ("none/people.npz", 1, "there is no folder"),
        ],
    )
    def test_a_place_where_nothing_can_go(self, out: str, code: int, says: str, tmp_path: Path) -> None:
        assert says in refused_here(tmp_path, out=tmp_path / out, code=code)


def test_two_ways_to_choose_pictures(tmp_path: Path) -> None:
    line = refused_here(tmp_path, "--all", "--best", "3", out=tmp_path / "people.npz", code=2)
    assert "--all and --best exclude each other" in line


class TestModels:
    def test_a_model_that_describes_nothing(self, tiny: Path, tmp_path: Path) -> None:
        save(tmp_path / "me.png", person("red"))
        line = refused(tmp_path / "me.png", "--model", tiny, out=tmp_path / "people.npz", code=2)
        assert "finds things in pictures and describes none; name a model that describes a body" in line

    def test_a_damaged_model(self, model: Path, tmp_path: Path) -> None:
        save(tmp_path / "me.png", person("red"))
        (tmp_path / "hurt.onnx").write_bytes(model.read_bytes()[:-300])
        line = refused(tmp_path / "me.png", "--model", tmp_path / "hurt.onnx", out=tmp_path / "people.npz", code=1)
        assert "hurt.onnx" in line


def test_a_video_that_ends_early_gives_what_it_holds_and_exit_code_3(model: Path, tiny: Path, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "cut.mp4", Clip(frames=60, faststart=True))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    out = tmp_path / "people.npz"
    done = watchline(
        *("reid", "extract", whole, tmp_path / "gone.mp4", "--out", out, "--model", model, "--detector", tiny)
    )
    assert done.returncode == 3, done.stderr
    lines = done.stderr.splitlines()
    assert any(line.startswith(f"watchline: {whole}: announced 60 frames, decoded ") for line in lines)
    assert any(line.startswith(f"watchline: {tmp_path}/gone.mp4: no such file") for line in lines)
    assert len(read_features(out)) > 0
    again = watchline("reid", "extract", whole, "--out", out, "--model", model, "--detector", tiny, "--overwrite")
    assert again.returncode == 3, again.stderr


@pytest.mark.parametrize("kind", ["pictures", "video"])
def test_an_interrupt_leaves_nothing_behind(
    kind: str, model: Path, tiny: Path, long_clip: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "crops", tmp_path / "people.npz"
    if kind == "pictures":
        first = save(folder / "0.bmp", person("red", height=1500))
        for number in range(1, 4000):
            (folder / f"{number}.bmp").symlink_to(first)
    spec = folder if kind == "pictures" else long_clip
    command = [*COMMAND, "reid", "extract", str(spec), "--out", str(out), "--model", str(model)]
    command += ["--detector", str(tiny)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not _is_at_work(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        try:
            stdout, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "watchline: interrupted; nothing is left half written\n"
    assert not list(tmp_path.glob("people*"))


def _is_at_work(pid: int) -> bool:
    """Whether the network is loaded, and threads for the work have begun."""
    try:
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        return threads > 2 and "onnxruntime" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False
