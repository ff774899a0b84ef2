"""What a benchmark measures with: processes that take turns and end, pictures, matches, and what is shown of them."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import psutil
import pytest

from tests.bench.models_sheet import _page
from tests.clips import Clip, write_clip
from watchline.pipeline.bench import pictures, show, turns
from watchline.pipeline.bench.child import Child
from watchline.pipeline.bench.consistency import Consistency, compare
from watchline.pipeline.bench.plot import draw
from watchline.pipeline.bench.sheet import DETECTOR, NETWORK, OURS, THEIRS, Machine, Others, Row, Sheet, _cpu_name
from watchline.streams.errors import ModelError, StreamError

READY = 'import json, os, sys, time; print(json.dumps({"ok": {"pid": os.getpid()}}), flush=True); '


def child(script: str) -> Child:
    return Child("theirs", [sys.executable, "-c", script], 1, {})


def sheet(against: str = "yard.pt", memory: int = 150_000_000) -> Sheet:
    ours = [Row(OURS, "onnxruntime 1", part, 1, 20.0, 50.0, 60.0, 30.0, memory) for part in (NETWORK, DETECTOR)]
    theirs = [Row(THEIRS, "torch 2", part, 1, 10.0, 100.0, 120.0, 60.0, 4 * memory) for part in (NETWORK, DETECTOR)]
    rows = [row for pair in zip(ours, theirs, strict=True) for row in (pair if against else pair[:1])]
    return Sheet(
        model="yard<1>.pt",
        sha256="ab" * 32,
        family="yolov8",
        task="detect",
        size=(384, 640),
        pictures="yard.mp4, 1280x720",
        held_bytes=11_000_000,
        seconds=1.0,
        threads=1,
        device="cpu",
        provider="CPUExecutionProvider",
        note="",
        against=against,
        rows=tuple(rows),
        consistency=Consistency(24, 10, 9, 9, 8, 0.5, 2.0, 0.01, 0.02) if against else None,
        machine=Machine("A processor", 2, 8_000_000_000, "Linux x86_64", 1.5),
        versions={OURS: {"python": "3.11"}},
        remarks=("Mind this.",),
    )


class Counting:
    """A side that counts what it is asked."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.threads: set[int] = set()

    def facts(self) -> dict[str, object]:
        return {"who": "counting"}

    def calls(self, part: str, turn: int) -> list[turns.Call]:
        if part == "broken":
            raise ModelError("part broken is not there")

        def call() -> int:
            self.threads.add(threading.get_ident())
            if part == "failing" and threading.current_thread() is not threading.main_thread():
                raise ValueError("it\nfailed")
            return 3

        return [call] * self.workers

    def find(self) -> list[list[list[float]]]:
        return [[]]


def served(side: Counting, *requests: object, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[dict[str, object]]]:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(request) + "\n" for request in requests)))
    said = io.StringIO()
    status = turns.serve(said, lambda: side)
    return status, [json.loads(line) for line in said.getvalue().splitlines()]


def test_a_side_says_what_it_is_then_answers_until_there_are_no_more_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"part": "network", "turn": 0, "seconds": 0.001}
    status, said = served(Counting(), request, {"find": True}, monkeypatch=monkeypatch)
    assert (status, said[0], said[2]) == (0, {"ok": {"who": "counting"}}, {"ok": [[]]})
    took = said[1]["ok"]
    assert isinstance(took, dict)
    assert took["frames"] == 3 * len(took["latencies_s"]) > 0
    assert took["wall_s"] >= 0.001
    assert took["cpu_s"] >= 0
    assert took["peak_memory_bytes"] > 0


def test_workers_work_at_the_same_time_each_in_a_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    side = Counting(workers=3)
    _, said = served(side, {"part": "network", "turn": 0, "seconds": 0.01}, monkeypatch=monkeypatch)
    took = said[1]["ok"]
    assert isinstance(took, dict)
    assert len(side.threads - {threading.get_ident()}) >= 1
    assert len(took["latencies_s"]) >= 3


@pytest.mark.parametrize(
    ("part", "reason"), [("broken", "part broken is not there"), ("failing", "ValueError: it failed")]
)
def test_what_fails_in_a_side_is_its_last_answer_on_one_line(
    part: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {"part": part, "turn": 0, "seconds": 0.01}
    status, said = served(Counting(workers=2), request, request, monkeypatch=monkeypatch)
    assert (status, said[1:]) == (1, [{"error": reason}])


def test_a_side_that_does_not_answer_is_given_up_and_ended() -> None:
    with pytest.raises(ModelError, match=r"theirs: no answer within 0 s"), child(READY + "time.sleep(600)") as side:
        side.ask({"find": True}, 0.2)
    assert not psutil.pid_exists(side.pid)


def test_a_side_is_ended_whatever_happens_meanwhile() -> None:
    with pytest.raises(KeyboardInterrupt), child(READY + "time.sleep(600)") as side:
        raise KeyboardInterrupt
    assert not psutil.pid_exists(side.pid)


def test_a_side_that_is_not_asked_any_more_ends_by_itself() -> None:
    with child(READY + "sys.stdin.read()") as side:
        assert side.facts == {"pid": side.pid}
    assert not psutil.pid_exists(side.pid)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; sys.exit('no\\nluck')", "theirs: the process ended with status 1: luck"),
        ("print('hello')", "theirs: the process ended with status 0"),
        ('print(\'{"error": "no such network"}\')', "theirs: no such network"),
    ],
)
def test_a_side_that_does_not_start_says_why(script: str, reason: str) -> None:
    with pytest.raises(ModelError) as caught:
        child(script)
    assert str(caught.value) == reason


def test_a_python_that_is_none_is_named() -> None:
    with pytest.raises(ModelError, match=r"/no/python cannot be started"):
        Child("theirs", ["/no/python"], 1, {})


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count so")
def test_the_memory_of_a_side_is_not_that_of_the_process_that_started_it() -> None:
    big = np.ones(300_000_000, np.uint8)
    script = "import runpy; print('{\"ok\": %d}' % runpy.run_path(" + repr(turns.__file__) + ")['peak_memory_bytes']())"
    with child(script) as side:
        assert 0 < int(side.facts) < 150_000_000 < len(big)  # type: ignore[call-overload]  # a number here


def test_pictures_come_from_all_over_a_clip(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "yard.mp4", Clip(frames=120))
    stored = pictures.store(str(clip), tmp_path)
    kept = np.load(stored.path)
    assert kept.shape == (stored.count, stored.height, stored.width, 3) == (24, 120, 160, 3)
    assert kept.dtype == np.uint8
    assert stored.held == [0, 6, 12, 18]
    assert stored.held_bytes == kept[stored.held].nbytes
    assert not np.array_equal(kept[0], kept[23])


def test_few_pictures_are_all_taken(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "yard.mp4", Clip(frames=3))
    stored = pictures.store(str(clip), tmp_path)
    assert (stored.count, stored.held, stored.made) == (3, [0, 1, 2], False)


def test_made_pictures_are_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first, again = (np.load(pictures.store("", folder).path) for folder in (tmp_path, tmp_path / "again"))
    assert np.array_equal(first, again)
    assert len({picture.tobytes() for picture in first}) == len(first)


def test_an_input_that_is_not_there_is_a_stream_error(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"gone\.mp4"):
        pictures.store(str(tmp_path / "gone.mp4"), tmp_path)


def test_equal_answers_agree_wholly() -> None:
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 500, (40, 2))
    rows = np.column_stack([corner, corner + rng.uniform(5, 90, (40, 2)), rng.random(40), rng.integers(0, 3, 40)])
    found = compare([rows.tolist(), []], [rng.permutation(rows).tolist(), []])
    assert (found.frames, found.ours, found.theirs) == (2, 40, 40)
    assert (found.matched, found.matched_tightly, found.max_px, found.max_score) == (40, 40, 0, 0)


def test_a_box_of_another_class_or_far_away_or_taken_is_no_match() -> None:
    box = [0.0, 0.0, 10.0, 10.0, 0.9, 0.0]
    other_class, far = [*box[:5], 1.0], [50.0, 50.0, 60.0, 60.0, 0.9, 0.0]
    assert compare([[other_class, far]], [[box]]).matched == 0
    assert compare([[box]], [[box, box]]).matched == 1
    assert compare([[]], [[box]]) == Consistency(1, 1, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)


def test_ratios_stand_on_our_rows() -> None:
    head, rows = show.cells(sheet())
    assert all(len(row) == len(head) for row in rows)
    assert [row[-3:] for row in rows] == [("2.00x", "2.00x", "0.25x"), ("", "", "")] * 2
    assert json.loads(sheet().to_json())["ratios"][0] == {
        "part": "network", "batch": 1, "fps": 2.0, "cpu": 2.0, "memory": 0.25,
    }  # fmt: skip


def test_without_an_original_there_are_no_ratios() -> None:
    alone = sheet(against="")
    head, rows = show.cells(alone)
    assert len(head) == 8
    assert [row[:3] for row in rows] == [("network", "1", OURS), ("detector", "1", OURS)]
    assert json.loads(alone.to_json())["ratios"] == []
    assert show.consistency(alone) == []


def test_markdown_is_a_table_then_what_a_reader_must_know() -> None:
    table, _, said = show.markdown(sheet()).partition("\n\n")
    assert len({line.count("|") for line in table.splitlines()}) == 1
    assert len({len(line) for line in table.splitlines()}) == 1
    assert all(line.startswith("- ") for line in said.splitlines())
    for words in (
        "input 384x640",
        "A processor, 8 GB, Linux x86_64, 2 usable cores; other programs took 1.5 of them",
        "90.0% at IoU 0.5",
        "Mind this.",
    ):
        assert words in said


def test_memory_that_the_system_does_not_tell_is_a_question_mark() -> None:
    unknown = sheet(memory=0)
    assert show.cells(unknown)[1][0][7:] == ("?", "2.00x", "2.00x", "?")
    assert ">?</text>" in draw(unknown)


@pytest.mark.parametrize("against", ["yard.pt", ""])
def test_the_plot_is_an_svg_with_a_bar_for_every_figure(against: str) -> None:
    drawn = sheet(against=against)
    root = ET.fromstring(draw(drawn))
    bars = [rect for rect in root.iter("{http://www.w3.org/2000/svg}rect") if rect.get("height") == "16"]
    assert len(bars) == 3 * len(drawn.rows)
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "yard<1>.pt, 384x640, cpu" in texts
    assert draw(drawn) == draw(drawn)


def test_work_of_ones_own_is_not_that_of_others() -> None:
    others = Others()
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    all_cores = psutil.cpu_count() or 1
    assert -1 <= others.cores() < all_cores
    assert not Machine("", 2, 0, "", -1.0).is_shared
    assert Machine("", 2, 0, "", 0.5).is_shared


def test_a_processor_is_named_as_the_system_names_it(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Old One\ncpu family\t: 6\nflags\t\t: fpu avx512_vnni\n\nmodel name : second\n")
    assert _cpu_name(info) == "Old One (family 6, avx512_vnni)"
    info.write_text("Hardware : a board\n")
    assert _cpu_name(info)
    assert _cpu_name(tmp_path / "none")


def test_the_page_of_benchmarks_shows_what_is_to_be_beaten_and_what_was_left_out() -> None:
    page = _page([sheet()], [sheet(against="")], ["gone.onnx: not at hand"])
    for words in ("21.84", "72.17", "3.30x", "| 2.00x (CPU 2.00x) |", "yolov8 detect", "- gone.onnx: not at hand"):
        assert words in page
    assert "shared with other programs during 2 of 2 measurements: they took" in page
    assert "## Beside the original" not in _page([], [sheet(against="")], [])
