"""`watchline run` on damaged and impossible input: one clear line, the right exit code, no traceback, nothing left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.clips import Clip, write_clip
from tests.command import COMMAND, json_lines, summary_of, watchline


class TestDamage:
    def test_a_truncated_file_gives_what_it_holds_and_exit_code_3(self, tiny: Path, tmp_path: Path) -> None:
        whole = write_clip(tmp_path / "cut.mp4", Clip(frames=100, faststart=True))
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        done = watchline("run", whole, "--model", tiny, "--out", tmp_path / "out", "--no-video")
        assert done.returncode == 3, done.stderr
        summary = summary_of(tmp_path / "out" / "cut")
        assert summary["status"] == "partial"
        processed = summary["frames"]["processed"]
        assert 10 < processed < 90
        assert summary["frames"]["missing"] == 100 - processed
        assert f"announced 100 frames, decoded {processed}" in done.stderr
        assert f"decoded {processed}" in (tmp_path / "out" / "cut" / "report.html").read_text()

    def test_damage_is_damage_where_only_a_part_was_asked_for(self, tiny: Path, tmp_path: Path) -> None:
        clip = write_clip(tmp_path / "hurt.mp4", Clip(frames=100))
        data = bytearray(clip.read_bytes())
        start = data.index(b"mdat") + len(data) // 8
        data[start : start + 400] = bytes(400)
        clip.write_bytes(data)
        done = watchline("run", clip, "--model", tiny, "--out", tmp_path / "out", "--no-video", "--max-frames", "80")
        summary = summary_of(tmp_path / "out" / "hurt")
        assert summary["frames"]["damaged"] > 0
        assert summary["status"] == "partial"
        assert done.returncode == 3


class TestBadInput:
    """One clear line, the right exit code, no traceback, nothing left behind."""

    def refused(self, *arguments: str | Path, code: int = 1, out: Path | None = None) -> str:
        extra = ["--out", str(out)] if out else []
        done = watchline("run", *arguments, *extra)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("watchline: ")
        assert not out or not out.exists() or not any(path.is_dir() for path in out.iterdir())
        return lines[0]

    @pytest.mark.parametrize(
        ("name", "content", "says"),
        [
            ("gone.mp4", None, "no such file"),
            ("empty.mp4", b"", "empty"),
            ("text.mp4", b"I am a letter, not a film.\n" * 50, "text.mp4"),
            ("noise.mp4", bytes(range(256)) * 64, "noise.mp4"),
        ],
    )
    def test_files_that_are_no_video(
        self, tiny: Path, tmp_path: Path, name: str, content: bytes | None, says: str
    ) -> None:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        assert says in self.refused(path, "--model", tiny, out=tmp_path / "out")

    def test_a_truncated_file_whose_index_is_lost(self, tiny: Path, tmp_path: Path) -> None:
        path = write_clip(tmp_path / "cut.mp4", Clip(frames=60))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "cut.mp4" in self.refused(path, "--model", tiny, out=tmp_path / "out")

    def test_a_folder_without_images(self, tiny: Path, tmp_path: Path) -> None:
        folder = tmp_path / "nothing"
        folder.mkdir()
        (folder / "notes.txt").write_text("no picture")
        assert "nothing" in self.refused(folder, "--model", tiny, out=tmp_path / "out")

    def test_an_unknown_model_names_the_nearest(self, clip: Path, tmp_path: Path) -> None:
        assert "yolov8n" in self.refused(clip, "--model", "yolov8nn", code=2, out=tmp_path / "out")

    def test_a_model_file_that_is_not_there(self, clip: Path, tmp_path: Path) -> None:
        assert "gone.onnx" in self.refused(clip, "--model", tmp_path / "gone.onnx", out=tmp_path / "out")

    @pytest.mark.parametrize("name", ["broken.onnx", "broken.pt"])
    def test_a_corrupt_model(self, clip: Path, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"\x08\x07garbage" * 99)
        assert name in self.refused(clip, "--model", tmp_path / name, out=tmp_path / "out")

    @pytest.mark.data
    def test_a_network_of_another_kind(self, data_dir: Path, clip: Path, tmp_path: Path) -> None:
        model = data_dir / "models" / "osnet_x0_25_msmt17.onnx"
        assert "osnet" in self.refused(clip, "--model", model, out=tmp_path / "out")

    def test_a_model_whose_mirror_copy_is_another_file(self, clip: Path, tmp_path: Path) -> None:
        mirror = tmp_path / "mirror"
        mirror.mkdir()
        (mirror / "yolov8n.pt").write_bytes(b"x" * 6549796)
        arguments = (clip, "--mirror", mirror, "--cache", tmp_path / "cache")
        nowhere = "http://127.0.0.1:9"
        done = watchline(
            "run", *arguments, "--out", tmp_path / "out", PIP_NO_INDEX="1", http_proxy=nowhere, https_proxy=nowhere
        )
        assert done.returncode == 1
        assert "sha256" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--conf", "1.5"], "--conf"),
            (["--iou", "-1"], "--iou"),
            (["--every", "0"], "--every"),
            (["--fps", "0"], "--fps"),
            (["--max-frames", "none"], "--max-frames"),
            (["--threads", "-2"], "--threads"),
            (["--device", "tpu"], "--device"),
            (["--no-such-option"], "--no-such-option"),
            ([], "INPUT"),
        ],
    )
    def test_bad_option_values_are_usage_errors(self, clip: Path, options: list[str], says: str) -> None:
        done = watchline("run", *([str(clip), *options] if options else []))
        assert done.returncode == 2
        assert says in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--tracker", "bytetrak"], 'no tracker "bytetrak", did you mean "bytetrack"?'),
            (["--preset", "best"], 'no preset "best"; known: default, reference'),
            (["--backend", "cuda"], 'no backend "cuda"; known: auto, native, python'),
            (["--set", "lost=3"], '--set lost: no such option of bytetrack, did you mean "lost_s"? known: high_score'),
            (["--set", "lost_s=-3"], "lost_s is -3.0; take a value from 0 to 86400"),
            (["--set", "lost_s"], '--set "lost_s": want NAME=VALUE'),
            (["--classes", "persn"], "did you mean 'person'"),
            (["--every", "2", "--fps", "5"], "exclude each other"),
            (["--fps", "inf"], "--fps inf"),
            (["--imgsz", "64"], "this model takes 32x32 alone"),
        ],
    )
    def test_options_that_make_no_sense_are_named(
        self, tiny: Path, clip: Path, tmp_path: Path, options: list[str], says: str
    ) -> None:
        assert says in self.refused(clip, "--model", tiny, *options, code=2, out=tmp_path / "out")

    def test_an_output_folder_that_is_a_file(self, tiny: Path, clip: Path, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("in the way")
        done = watchline("run", clip, "--model", tiny, "--out", tmp_path / "out")
        assert done.returncode == 1
        assert "out" in done.stderr
        assert "cannot write" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_disk_that_fills_up_keeps_whole_lines_and_says_so(self, tiny: Path, clip: Path, tmp_path: Path) -> None:
        script = (
            "import resource, signal, sys;"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500));"
            "from watchline.pipeline.cli.entry import main; main()"
        )
        done = subprocess.run(
            [COMMAND[0], "-c", script, "run", str(clip), "--model", str(tiny), "--out", str(tmp_path), "--no-video"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        assert "cannot write" in done.stderr
        assert "Traceback" not in done.stderr
        assert len(json_lines(tmp_path / "yard" / "tracks.jsonl")) > 5
