"""The report: one page, whole in itself, readable with anything in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.fakes import make_detections, make_faces
from tests.pipeline.test_annotate import tracks
from watchline.detectors.detections import PoseDetections
from watchline.pipeline.album import Album
from watchline.pipeline.findings import Findings, Tied
from watchline.pipeline.report import render_report
from watchline.pipeline.stopwatch import StageTime
from watchline.pipeline.summary import FrameCounts, InputFacts, MachineFacts, ModelFacts, Status, Summary
from watchline.streams.frame import ClockSource, Frame, Picture

HOSTILE = "\"><script>alert('x')</script><img src=x onerror=alert(1)>{{ 7*7 }}.mp4"
NOISE = np.random.default_rng(1).integers(0, 255, (240, 320, 3), dtype=np.uint8)


class Page(HTMLParser):
    """The tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def summary(
    album: Album,
    path: str = "yard.mp4",
    status: Status = "complete",
    warnings: tuple[str, ...] = (),
    outputs: tuple[str, ...] = ("annotated.mp4", "report.html"),
) -> Summary:
    model = ModelFacts("yolov8n", "cd" * 32, "yolov8", "detect", "AGPL-3.0", "cpu", "detect", 4.0, 4.1, 200, 0)
    faces = ModelFacts("faces.onnx", "ef" * 32, "yunet", "face", "MIT", "cpu", "face", 1.0, 1.0, 30, 7)
    return Summary(
        status=status,
        warnings=warnings,
        input=InputFacts(path, "ab" * 32, "video", 320, 240, 25.0, 10.0, "h264"),
        frames=FrameCounts(100, 100, 100, {}, 0, 0),
        detections=200,
        tracks=album.track_count,
        tracks_with_face=album.faced_count,
        tracks_by_class=dict(album.tracks_by_class),
        fps=30.0,
        wall_s=3.3,
        cpu_s=5.0,
        stages=(StageTime("decode", 1.0, 1.0), StageTime("detect", 4.0, 4.1)),
        peak_memory_bytes=200_000_000,
        model=model,
        models=(model, faces) if album.faced_count else (model,),
        machine=MachineFacts("cpu", "CPUExecutionProvider", "onnxruntime 1", "", 2, 1, "native", "bytetrack (python)"),
        options={"conf": 0.25},
        versions={"watchline": "0"},
        outputs=outputs,
    )


def filled(count: int, labels: tuple[str, ...] = ("person", "car")) -> Album:
    album = Album(labels)
    for i in range(count):
        for step in range(2):
            frame = Frame("yard", 2 * i + step, i + step / 2, 0.0, ClockSource.FILE, Picture.from_rgb(NOISE))
            album.add(frame, tracks((i + 1, i % 2, (100, 20, 180, 220))))
    return album


def test_the_page_asks_for_nothing_beyond_itself() -> None:
    page = Page(render_report(summary(album := filled(3)), album))
    assert not page.all("link")
    assert [a for a in page.all("script") if a.get("src")] == []
    assert all((a["src"] or "").startswith("data:image/jpeg;base64,") for a in page.all("img"))
    (policy,) = [a["content"] or "" for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/=]+'", policy)  # our script and no other


def test_hostile_names_are_text() -> None:
    album = filled(2, labels=(HOSTILE, "car"))
    html = render_report(summary(album, path=HOSTILE, status="partial", warnings=(HOSTILE,)), album)
    page = Page(html)
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "49.mp4" not in html


def test_there_is_a_card_and_a_bar_for_each_track_and_bars_lead_to_cards() -> None:
    page = Page(render_report(summary(album := filled(5)), album))
    cards = [a["id"] for a in page.all("li") if a.get("class") == "card"]
    assert cards == [f"track-{i}" for i in range(1, 6)]
    assert {a["href"] for a in page.all("a")} >= {f"#track-{i}" for i in range(1, 6)}
    assert len(page.all("img")) == 5


def test_a_card_leads_to_its_moment_in_the_video_where_there_is_one() -> None:
    album = filled(3)
    assert 'href="annotated.mp4#t=2.0"' in render_report(summary(album), album)
    assert "annotated.mp4" not in render_report(summary(album, outputs=("report.html",)), album)


def test_what_went_wrong_stands_on_top() -> None:
    album = filled(1)
    html = render_report(summary(album, status="partial", warnings=("61 of 157 frames are missing",)), album)
    assert re.search(r'role="alert".*partial.*61 of 157 frames are missing', html, re.DOTALL)
    assert 'role="alert"' not in render_report(summary(album), album)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_tracks_make_a_page_too(count: int) -> None:
    html = render_report(summary(album := filled(count)), album)
    assert ("Nobody and nothing was tracked." in html) == (count == 0)


def test_five_hundred_tracks_keep_their_lanes_apart_and_the_page_within_bounds() -> None:
    album = filled(500)
    html = render_report(summary(album), album)
    assert len(html) < 25_000_000  # pictures of pure noise; those of a street make 2 MB
    styles = [a["style"] or "" for a in Page(html).all("a") if "top:" in (a.get("style") or "")]
    assert len(styles) == 500
    lanes: dict[str, float] = {}
    for style in styles:
        left, width, top = (re.search(rf"{key}:([\d.]+)", style) for key in ("left", "width", "top"))
        assert left and width and top
        assert float(left[1]) >= lanes.get(top[1], -1.0)
        lanes[top[1]] = float(left[1]) + float(width[1])
        assert lanes[top[1]] <= 100.01


def with_faces(count: int) -> Album:
    """Tracks of poses and faces; the face of each is seen in one of two frames."""
    album = Album(("person", "car"))
    keypoints = np.full((1, 17, 3), [140, 120, 0.9], np.float32)
    first = make_detections((100, 20, 180, 220))
    poses = PoseDetections(first.xyxy, first.score, first.class_id, keypoints)
    for i in range(2 * count):
        frame = Frame("yard", i, i / 2, 0.0, ClockSource.FILE, Picture.from_rgb(NOISE))
        tied = Tied(make_faces((130, 28, 150, 48)), np.array([-(i % 2)], np.int32))
        album.add(frame, tracks((i // 2 + 1, 0, (100, 20, 180, 220))), Findings(poses, (tied,)))
    return album


def test_a_card_shows_the_skeleton_and_the_face_of_its_track() -> None:
    html = render_report(summary(album := with_faces(2)), album)
    page = Page(html)
    assert album.faced_count == 2
    assert [a["viewbox"] for a in page.all("svg")][1:] == ["0 0 77 192"] * 2
    assert sum(a.get("class") == "face" for a in page.all("img")) == 2
    assert html.count("face in 1 of 2 frames") == 2
    assert "faces.onnx (yunet face)" in html
    assert "30 found, 7 of them of no track" in html


def test_sketches_can_be_hidden_without_a_script() -> None:
    html = render_report(summary(album := with_faces(1)), album)
    (box,) = [a for a in Page(html).all("input") if a.get("type") == "checkbox"]
    assert (box["id"], "checked" in box) == ("sketches", True)
    assert "#sketches:not(:checked) ~ .cards svg" in html
    plain = render_report(summary(album := filled(1)), album)
    assert 'id="sketches"' not in plain
    assert "face in" not in plain


def test_sketches_and_faces_keep_the_page_small() -> None:
    few, many = (len(render_report(summary(album := with_faces(count)), album)) for count in (10, 30))
    # As text, of pure noise, the view is 14 KB and the face 2 KB; what is drawn over them is less than 1.
    assert (many - few) / 20 < 20_000
