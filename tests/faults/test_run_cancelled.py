"""`watchline run` that is interrupted, killed, or not alone: whole files, honestly marked."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from tests.command import COMMAND, json_lines, summary_of


class TestCancelling:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_what_was_done_is_kept_whole_and_marked(
        self, tiny: Path, tmp_path: Path, number: signal.Signals, long_clip: Path
    ) -> None:
        folder = tmp_path / "long"
        process = self._start(long_clip, tiny, tmp_path)
        self._wait_for_lines(process, folder / "tracks.jsonl", 20)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 3, stderr
        assert "cancelled by the user" in stderr
        assert "Traceback" not in stderr
        summary = summary_of(folder)
        lines = json_lines(folder / "tracks.jsonl")
        assert summary["status"] == "cancelled"
        assert [line["frame"] for line in lines] == list(range(len(lines)))
        assert summary["frames"]["processed"] == len(lines) < 2000
        assert summary["frames"]["missing"] == 0
        with av.open(str(folder / "annotated.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == len(lines)
        assert "cancelled" in (folder / "report.html").read_text()

    def test_impatient_signals_spoil_nothing(self, tiny: Path, tmp_path: Path, long_clip: Path) -> None:
        folder = tmp_path / "long"
        process = self._start(long_clip, tiny, tmp_path)
        self._wait_for_lines(process, folder / "tracks.jsonl", 50)
        for _ in range(5):
            process.send_signal(signal.SIGINT)
            time.sleep(0.03)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 3, stderr
        assert summary_of(folder)["status"] == "cancelled"
        with av.open(str(folder / "annotated.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == len(json_lines(folder / "tracks.jsonl"))

    @pytest.mark.parametrize("delay_s", [0.02, 0.2, 0.4, 0.6, 0.8, 1.1])
    def test_an_interrupt_at_any_moment_leaves_whole_files_or_none(
        self, tiny: Path, tmp_path: Path, delay_s: float, long_clip: Path
    ) -> None:
        # Until our first line runs, an interrupt is Python's own affair: the clock starts there.
        script = "from watchline.pipeline.cli.entry import main; print(flush=True); main()"
        arguments = ["run", str(long_clip), "--model", str(tiny), "--out", str(tmp_path)]
        process = subprocess.Popen(
            [COMMAND[0], "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert "Traceback" not in stderr
        assert process.returncode in (3, 130, -signal.SIGINT), stderr
        folder = tmp_path / "long"
        if process.returncode == 3:
            assert summary_of(folder)["status"] == "cancelled"
            json_lines(folder / "tracks.jsonl")
        else:
            assert not folder.exists()

    def test_a_killed_process_leaves_whole_lines_and_a_playable_video(
        self, tiny: Path, tmp_path: Path, long_clip: Path
    ) -> None:
        folder = tmp_path / "long"
        process = self._start(long_clip, tiny, tmp_path)
        self._wait_for_lines(process, folder / "tracks.jsonl", 300)
        process.kill()
        process.communicate(timeout=30)
        assert len(json_lines(folder / "tracks.jsonl")) >= 300
        with av.open(str(folder / "annotated.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) > 0

    def _start(self, clip: Path, model: Path, out: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, "run", str(clip), "--model", str(model), "--out", str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _wait_for_lines(self, process: subprocess.Popen[str], path: Path, count: int) -> None:
        deadline = time.monotonic() + 60
        while not path.exists() or path.read_bytes().count(b"\n") < count:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_an_interrupt_while_another_is_told_shows_no_traceback() -> None:
    script = (
        "import watchline.pipeline.cli.app as cli\n"
        "def interrupted():\n    raise KeyboardInterrupt\n"
        "cli.app = interrupted\n"
        "from watchline.pipeline.cli.entry import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "watchline: interrupted\n")
