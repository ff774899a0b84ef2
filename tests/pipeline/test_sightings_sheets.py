"""Pages about sightings: whole in themselves, and safe with anything in them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import cv2
import numpy as np

from tests.kit.browser import open_browser
from tests.kit.sightings import make_crop, make_sighting
from tests.pipeline.test_report import Page
from watchline.pipeline.sheets import card_of, drawing_of, pages, render_sheet, render_track
from watchline.pipeline.store.reading import WholeTrack, named, tracks_of, whole
from watchline.pipeline.store.seam import Selection
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import open_store
from watchline.pipeline.templating import picture as inlined
from watchline.reid.embeddings import Kind

HOSTILE = "\"><script>alert('x')</script><img src=x onerror=alert(1)>{{ 7*7 }}</style>"
NAMES = {Kind.BODY: "osnet", Kind.FACE: "sface"}


def picture(seed: int = 1) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (96, 40, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", noise)[1])


def joined(tmp_path: Path, *sightings: Sighting) -> list[WholeTrack]:
    store = open_store(tmp_path / "site.db")
    store.add(sightings)
    found = [whole(store, each) for each in tracks_of(store, Selection())]
    store.close()
    return found


def sheet(tracks: list[WholeTrack], **more: str) -> str:
    return render_sheet([card_of(track, NAMES) for track in tracks], "site.db", "everything", "now", **more)  # type: ignore[arg-type]


def test_a_page_asks_for_nothing_beyond_itself(tmp_path: Path) -> None:
    tracks = joined(tmp_path, make_sighting(crops=[make_crop(picture())]))
    for html in (sheet(tracks), render_track(tracks[0], "site.db")):
        page = Page(html)
        assert not page.all("link")
        assert [a for a in page.all("script") if a.get("src")] == []
        images = [a.get("src") or a.get("href") or "" for tag in ("img", "image") for a in page.all(tag)]
        assert images
        assert all(each.startswith("data:image/jpeg;base64,") for each in images)
        (policy,) = [a["content"] or "" for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
        assert "default-src 'none'" in policy


def test_hostile_names_are_text(tmp_path: Path) -> None:
    made = make_sighting(HOSTILE, crops=[make_crop(picture())], reason=HOSTILE, source=HOSTILE)
    made = dataclasses.replace(made, label=HOSTILE, clock=HOSTILE)
    tracks = joined(tmp_path, made, make_sighting(HOSTILE, 2, crops=(), reason=HOSTILE))
    for html, scripts in ((sheet(tracks, newer=HOSTILE), 1), (render_track(tracks[0], HOSTILE), 0)):
        page = Page(html)
        assert len(page.all("script")) == scripts
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert "49</style>" not in html


def test_a_card_shows_the_best_picture_the_face_and_some_more_in_order_of_time(tmp_path: Path) -> None:
    crops = [dataclasses.replace(make_crop(picture(i), at_s=i), quality=(i + 1) / 10) for i in range(7)]
    face = make_crop(picture(99), kind=Kind.FACE)
    (track,) = joined(tmp_path, make_sighting(crops=[*crops, face]))
    card = card_of(track, NAMES)
    assert card.image == inlined(crops[6].jpeg)
    assert card.face == inlined(face.jpeg)
    assert card.thumbs == tuple(inlined(crops[i].jpeg) for i in (2, 3, 4, 5))
    assert card.described == "osnet"


def test_a_track_without_a_picture_says_why(tmp_path: Path) -> None:
    tracks = joined(tmp_path, make_sighting(crops=(), vectors=(), reason="too small"))
    assert "too small" in sheet(tracks)
    assert "not described" in sheet(tracks)
    assert "too small" in render_track(tracks[0], "site.db")


def test_an_empty_sheet_says_so() -> None:
    assert "Nothing was seen: camera dock" in render_sheet([], "site.db", "camera dock", "now")


def test_a_sheet_is_split_by_number_and_by_bytes(tmp_path: Path) -> None:
    (track,) = joined(tmp_path, make_sighting())
    card = card_of(track, NAMES)
    assert [len(page) for page in pages(iter([card] * 1100))] == [500, 500, 100]
    heavy = dataclasses.replace(card, image_bytes=12_000_000)
    assert [len(page) for page in pages(iter([heavy] * 5))] == [2, 2, 1]
    assert list(pages(iter([]))) == []


def test_parts_are_drawn_as_one_way_with_a_break_where_nobody_was_seen(tmp_path: Path) -> None:
    first = make_sighting(track_key="ab" * 16, crops=[make_crop(picture())])
    later = make_sighting(track_key="ab" * 16, part=1, at_s=30, crops=())
    (track,) = joined(tmp_path, first, later)
    assert track.path[8, 0] == 30.0
    drawing = drawing_of(track)
    assert drawing is not None
    assert [len(line.split()) for line in drawing.lines] == [8, 8]
    assert drawing.first == (130.0, 220.0)
    assert len(drawing.places) == 1
    html = render_track(track, "site.db")
    assert all(part.sighting_id in html for part in track.parts)


def test_a_way_is_drawn_over_the_whole_frame_and_parts_of_another_size_are_scaled_to_it(tmp_path: Path) -> None:
    first = make_sighting(track_key="ab" * 16, crops=[make_crop(picture())], frame=(320, 180))
    later = make_sighting(track_key="ab" * 16, part=1, at_s=4, crops=(), frame=(640, 360))
    (track,) = joined(tmp_path, first, later)
    drawing = drawing_of(track)
    assert drawing is not None
    assert (drawing.width, drawing.height) == (640, 360)
    assert drawing.first == (260.0, 440.0)
    assert drawing.last == (200.0, 220.0)
    assert (drawing.places[0].x, drawing.places[0].width) == (20.0, 100.0)
    assert "640 \N{MULTIPLICATION SIGN} 360 px" in render_track(track, "site.db")


def test_a_track_whose_path_is_gone_says_so(tmp_path: Path) -> None:
    made = dataclasses.replace(make_sighting(), path=np.zeros((0, 5), np.float32))
    (track,) = joined(tmp_path, made)
    assert drawing_of(track) is None
    assert "no longer kept" in render_track(track, "site.db")


def test_a_browser_shows_the_sheet_filters_it_and_reports_no_error(tmp_path: Path) -> None:
    tracks = joined(
        tmp_path,
        make_sighting("dock", 1, crops=[make_crop(picture(1))]),
        make_sighting(HOSTILE, 2, at_s=60, crops=[make_crop(picture(2))]),
        make_sighting("dock", 3, at_s=90, crops=(), reason="too small"),
    )
    (tmp_path / "sheet.html").write_text(sheet(tracks))
    (tmp_path / "track.html").write_text(render_track(tracks[1], "site.db"))
    with open_browser(tmp_path / "browser", dark=True) as browser:
        page = browser.page
        page.goto((tmp_path / "sheet.html").as_uri())
        assert page.locator("#shown").inner_text() == "3 of 3 shown"
        page.select_option("#camera", HOSTILE)
        assert page.locator("#shown").inner_text() == "1 of 3 shown"
        assert page.locator(".card:visible h3").text_content() == f"{HOSTILE}:2 person"
        page.select_option("#camera", "")
        page.uncheck("#bare")
        assert page.locator("#shown").inner_text() == "2 of 3 shown"
        loaded = "[...document.images].every((image) => image.complete && image.naturalWidth === 40)"
        assert page.evaluate(loaded)
        page.goto((tmp_path / "track.html").as_uri())
        assert page.evaluate(loaded)
        assert not browser.errors
        assert [url for url in browser.foreign if not re.match(r"file://", url)] == []


def test_a_track_is_named_by_any_of_its_ids(tmp_path: Path) -> None:
    store = open_store(tmp_path / "site.db")
    parts = [make_sighting(track_key="cd" * 16, part=i, at_s=60 * i) for i in range(3)]
    store.add([*parts, make_sighting(at_s=-600)])  # an earlier run had a track of this number, too
    (found,) = named(store, parts[1].sighting_id.upper())
    assert found.ids == tuple(part.sighting_id for part in parts)
    assert len(named(store, "dock:1")) == 2
    store.close()
