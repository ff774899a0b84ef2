"""`watchline reid identify`: the ranking, its forms, and the page to look at."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from tests.command import watchline
from tests.kit.browser import open_browser
from tests.pipeline.reid_models import person, save, write_tiny_embedder
from watchline.pipeline.cli.app import app
from watchline.pipeline.contact_pictures import Grounds, Missing
from watchline.pipeline.contact_sheet import MOST_PICTURES, Sheet, Side, render_sheet
from watchline.pipeline.identifying import Subjects, rank, ranking_record, record_of, subjects_of
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.features import FeatureSet, write_features
from watchline.streams.errors import StreamError, WatchlineError

MODEL = EmbeddingModel("colours", "ab" * 32, Kind.BODY, 3)


def features(vectors: list[list[float]], **columns: object) -> FeatureSet:
    array = np.array(vectors, np.float32)
    names = [f"{i}.png" for i in range(len(array))]
    return FeatureSet.of(array, MODEL, **{"names": names, **columns})  # type: ignore[arg-type]  # any of its columns


def subjects(vectors: list[list[float]], **columns: object) -> Subjects:
    return subjects_of(features(vectors, **columns), "it")


class TestRanking:
    def test_the_most_alike_come_first_and_equal_ones_in_their_order(self) -> None:
        gallery = subjects([[0, 1, 0], [1, 1, 0], [2, 0, 0], [3, 0, 0], [-1, 0, 0]])
        (ranking,) = rank(gallery, subjects([[5, 0, 0]]), top=4)
        assert [match.subject for match in ranking.matches] == [2, 3, 1, 0]
        assert [match.similarity for match in ranking.matches] == pytest.approx([1, 1, 0.5**0.5, 0])

    def test_it_equals_the_sorted_cosine_of_all_pairs(self) -> None:
        made = np.random.default_rng(3)
        known, asked = (made.normal(size=(count, 3)).astype(np.float32) for count in (500, 40))
        rankings = rank(subjects(known.tolist()), subjects(asked.tolist()), top=7)
        unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (known, asked)]
        best = np.argsort(-(unit[1] @ unit[0].T), axis=1)[:, :7]
        assert [[match.subject for match in ranking.matches] for ranking in rankings] == best.tolist()

    def test_pictures_of_one_track_are_one_answer_shown_by_the_nearest(self) -> None:
        tracks = {"track_id": np.array([4, 4, -1, 4]), "file": ["a.mp4", "a.mp4", "b.png", "b.mp4"]}
        gallery = subjects([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, 0]], **tracks)
        assert len(gallery) == 3
        (ranking,) = rank(gallery, subjects([[0, 2, 0.1]]), top=5)
        first = ranking.matches[0]
        assert (first.subject, first.row) == (0, 1)
        assert first.similarity == pytest.approx(0.5**0.5, abs=0.01)

    def test_a_track_or_a_picture_is_no_answer_to_itself(self) -> None:
        columns = {"track_id": np.array([1, 1, 2, -1]), "file": ["a.mp4", "a.mp4", "a.mp4", "b.png"]}
        all_of_it = subjects([[1, 0, 0], [1, 0.1, 0], [0.9, 0.2, 0], [0, 0, 1]], **columns)
        again = subjects([[1, 0, 0], [1, 0.1, 0], [0.9, 0.2, 0], [0, 0, 1]], **columns)
        for ranking in rank(all_of_it, again, top=10):
            assert len(ranking.matches) == 2
            assert ranking.subject not in [match.subject for match in ranking.matches]

    def test_a_file_is_the_same_however_it_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        gallery = subjects([[1, 0, 0], [0, 1, 0]], file=["crops/a.png", "crops/b.png"])
        (ranking,) = rank(gallery, subjects([[1, 0, 0]], file=[str(tmp_path / "crops" / "a.png")]), top=5)
        assert [match.subject for match in ranking.matches] == [1]

    def test_numbers_without_end_are_not_known(self) -> None:
        endless = np.array([np.inf], np.float32)
        odd = subjects([[1, 0, 0]], quality=endless, time_s=-endless.astype(np.float64), box=endless.repeat(4)[None])
        record = record_of(odd, 0, 0)
        assert (record["quality"], record["time_s"], record["box"]) == (None, None, None)

    def test_a_query_is_shown_by_its_best_picture(self) -> None:
        columns = {"track_id": np.array([1, 1, 1]), "quality": np.array([0.2, np.nan, 0.7], np.float32)}
        asked = subjects([[1, 0, 0]] * 3, file=["a.mp4"] * 3, **columns)
        assert rank(subjects([[1, 0, 0]]), asked, top=1)[0].row == 2

    def test_labels_say_whether_it_is_the_same_person(self) -> None:
        people = {"person_id": np.array([7, 8, 0, -1], np.int32)}
        gallery = subjects([[1, 0, 0], [1, 0.1, 0], [1, 0.2, 0], [1, 0.3, 0]], **people)
        query = subjects([[1, 0, 0]], person_id=np.array([7], np.int32))
        record = ranking_record(gallery, query, rank(gallery, query, top=4)[0])
        assert [found["same_person"] for found in record["results"]] == [True, False, None, None]

    def test_nothing_to_compare_with_is_one_line(self) -> None:
        with pytest.raises(StreamError, match="it: holds no picture of a person"):
            subjects_of(FeatureSet.of(np.empty((0, 3), np.float32), MODEL), "it")


class TestSheet:
    def page(self, gallery: FeatureSet, query: FeatureSet, folder: Path, top: int = 5) -> str:
        return self.sheet(gallery, query, Grounds([folder], folder), top).html

    def sheet(self, gallery: FeatureSet, query: FeatureSet, grounds: Grounds, top: int = 5) -> Sheet:
        known = Side(subjects_of(gallery, "shop"), "shop", grounds)
        asked = Side(subjects_of(query, "<i>me</i>"), "<i>me</i>", grounds)
        return render_sheet(known, asked, rank(known.subjects, asked.subjects, top), MODEL)

    def test_pictures_lie_in_the_page_and_texts_are_escaped(self, tmp_path: Path) -> None:
        save(tmp_path / "a.png", person("red"))
        save(tmp_path / "b.jpg", person("green"))
        known = features([[1, 0, 0], [0, 1, 0]], file=["a.png", str(tmp_path / "b.jpg")], camera=["<b>yard", ""])
        page = self.page(known, features([[1, 0.1, 0]], file=["a.png"], time_s=np.array([61.5])), tmp_path)
        assert page.count('src="data:image/jpeg;base64,') == 3
        assert "&lt;i&gt;me&lt;/i&gt;" in page
        assert "&lt;b&gt;yard" in page
        assert "01:01.50" in page
        assert "<script" not in page
        assert "http" not in page.replace("http-equiv", "")
        assert "colours (sha256 abababababab)" in page
        assert "probab" not in page

    def test_a_picture_that_is_gone_is_said_to_be_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "text.png").write_text("no picture")
        save(tmp_path / "small.png", person("red"))
        files = ["gone.png", "text.png", "small.png", "", "gone.mp4", "x" * 3000]
        boxes = np.full((6, 4), np.nan, np.float32)
        boxes[2] = 900, 900, 950, 990
        page = self.page(
            features([[1, 0, i] for i in range(6)], file=files, box=boxes), features([[1, 0, 0]]), tmp_path, top=6
        )
        assert page.count("picture not there") == 7
        assert "7 pictures are not there any more" in page
        assert "data:image/jpeg" not in page

    def test_pictures_elsewhere_are_not_shown_and_not_even_looked_for(self, clip: Path, tmp_path: Path) -> None:
        here, home = tmp_path / "here", tmp_path / "home"
        save(here / "a.png", person("red"))
        save(home / "private.png", person("green"))
        (here / "link.png").symlink_to(home / "private.png")
        (here / "folder").symlink_to(home)
        (here / "blind.png").symlink_to(home / "nothing.png")  # whether it is there is not told either
        (here / "round.png").symlink_to(here / "round.png")
        outside = [
            str(home / "private.png"),
            str(home / "nothing.png"),
            "../home/private.png",
            "folder/private.png",
            "blind.png",
        ]
        files = [*outside, "link.png", str(clip), "a.png", "round.png"]
        columns = {"file": files, "time_s": np.full(len(files), 0.4)}
        found = self.sheet(
            features([[1, 0, i] for i in range(9)], **columns), features([[1, 0, 0]]), Grounds([here], here), 9
        )
        assert found.html.count("data:image/jpeg") == 1
        assert found.html.count(Missing.OUTSIDE) == found.hidden == 7
        assert set(found.outside) == {*outside, "link.png", str(clip)}
        assert "7 pictures are not shown: their files lie outside the folders" in found.html
        assert str(home) not in found.html

    def test_a_folder_may_be_named_by_a_link(self, tmp_path: Path) -> None:
        save(tmp_path / "disk" / "case" / "a.png", person("red"))
        (tmp_path / "cases").symlink_to(tmp_path / "disk")
        for name in (tmp_path / "cases" / "case" / "a.png", tmp_path / "disk" / "case" / "a.png", "case/a.png"):
            found = Grounds([tmp_path / "cases"], tmp_path).find(str(name))
            assert found == (tmp_path / "disk" / "case" / "a.png").resolve()

    def test_a_file_of_features_opens_no_folder_and_what_is_named_opens_itself(self, tmp_path: Path) -> None:
        for name in ("a.png", "b.png", "crops/c.png"):
            save(tmp_path / name, person("red"))

        def seen(spec: str) -> list[str]:
            grounds = Grounds.of(str(tmp_path / spec), ())
            names = [str(tmp_path / name) for name in ("a.png", "b.png", "crops/c.png")]
            return [Path(name).name for name in names if isinstance(grounds.find(name), Path)]

        assert seen("known.npz") == []
        assert seen("a.png") == ["a.png"]
        assert seen("crops") == ["c.png"]
        assert seen("list.csv") == ["a.png", "b.png", "c.png"]

    def test_pictures_of_a_video_are_cut_from_their_frames_again(self, clip: Path, tmp_path: Path) -> None:
        columns = {"file": [str(clip)] * 3, "time_s": np.array([0.4, 0.8, 77.0]), "track_id": np.array([1, 2, 3])}
        boxes = np.tile(np.array([[10, 10, 60, 90]], np.float32), (3, 1))
        page = self.page(
            features([[1, 0, 0], [0, 1, 0], [0, 0, 1]], box=boxes, **columns), features([[1, 0, 0]]), clip.parent
        )
        assert page.count("data:image/jpeg") == 2
        assert page.count("picture not there") == 2

    def test_a_page_has_a_bound_and_says_what_it_leaves_out(self, tmp_path: Path) -> None:
        count = MOST_PICTURES // 11 + 5
        many = features(np.random.default_rng(0).normal(size=(count, 3)).tolist())
        page = self.page(many, many, tmp_path, top=10)
        assert page.count("<section>") == MOST_PICTURES // 11
        assert "5 more queries are not shown here" in page

    def test_a_browser_shows_it_without_asking_anybody(self, tmp_path: Path) -> None:
        for name in ("red", "green", "sand"):
            save(tmp_path / f"{name}.png", person(name))
        files = [str(tmp_path / f"{name}.png") for name in ("red", "green", "sand")]
        known = features([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]], file=files)
        asked = features([[1, 0.1, 0]], file=[str(tmp_path / "gone.png")])
        (tmp_path / "sheet.html").write_text(self.page(known, asked, tmp_path))
        with open_browser(tmp_path / "profile") as browser:
            browser.page.goto((tmp_path / "sheet.html").as_uri())
            widths = browser.page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
            ranks = browser.page.eval_on_selector_all("li h3", "all => all.map(each => each.textContent)")
            assert widths == [48, 48, 48]
            assert ranks == ["1 similarity 0.995", "2 similarity 0.774", "3 similarity 0.100"]
            assert browser.page.inner_text("article .picture") == "picture not there"
            assert browser.errors == []
            assert [url for url in browser.foreign if not url.endswith("/sheet.html")] == []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_embedder(tmp_path_factory.mktemp("model") / "colours.onnx")


def test_a_photo_is_found_in_a_folder_by_its_likeness(model: Path, tmp_path: Path) -> None:
    for number, shirt in enumerate(("green", "red", "sand", "red")):
        save(tmp_path / "known" / f"000{number}_c{number}s1_000001_00.png", person(shirt, seed=number))
    me = save(tmp_path / "me.jpg", person("red", seed=9))
    known, table, page = tmp_path / "known.npz", tmp_path / "a.csv", tmp_path / "sheet.html"
    done = watchline("reid", "extract", tmp_path / "known", "--out", known, "--model", model)
    assert done.returncode == 0, done.stderr
    outputs: tuple[str | Path, ...]
    outputs = ("--top", "2", "--json", "-", "--csv", table, "--html", page, "--model", model)
    done = watchline("reid", "identify", "--gallery", known, "--query", me, *outputs)
    assert done.returncode == 0
    assert done.stderr == (
        f"watchline: {page}: contact sheet\nwatchline: 2 pictures are not in it: only those in folders that you name "
        f"may be, links by where they lead; want them: --pictures {tmp_path / 'known'}\n"
    )
    assert page.read_text().count("data:image/jpeg") == 1
    outputs = (*outputs, "--pictures", tmp_path, "--overwrite")
    done = watchline("reid", "identify", "--gallery", known, "--query", me, *outputs)
    assert (done.returncode, done.stderr) == (0, f"watchline: {page}: contact sheet\n")
    assert str(tmp_path) not in page.read_text()
    answers = json.loads(done.stdout)
    assert answers["similarity"] == "cosine"
    assert answers["gallery"] == {"path": str(known), "pictures": 4, "subjects": 4}
    assert answers["model"]["name"] == model.name
    (record,) = answers["queries"]
    assert record["query"]["name"] == "me.jpg"
    results = record["results"]
    assert [found["rank"] for found in results] == [1, 2]
    assert {found["camera"] for found in results} == {"c1", "c3"}
    assert 0.99 < results[1]["similarity"] <= results[0]["similarity"] <= 1
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [(row["query"], row["rank"], row["name"]) for row in rows] == [
        ("me.jpg", str(found["rank"]), found["name"]) for found in results
    ]
    assert page.read_text().count("data:image/jpeg") == 3


def test_one_file_may_hold_both_queries_and_gallery(data_dir: Path) -> None:
    """The Market-1501 form; a person's other pictures by the same camera count here, so most answers are right."""
    both = data_dir / "reid" / "market150_osnet_feats.npz"
    done = watchline("reid", "identify", "--gallery", both, "--query", both, "--top", "1", "--json", "-")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert answers["query"]["pictures"] == 682
    assert answers["gallery"]["pictures"] == 3368
    right = [record["results"][0]["same_person"] for record in answers["queries"]]
    assert right.count(True) > len(right) / 2


def test_names_say_nothing_to_a_terminal(tmp_path: Path) -> None:
    for name in ("gallery.npz", "query.npz"):
        write_features(tmp_path / name, features([[1, 0, 0]], names=["a\x1b[2Jb\nc"]))
    done = watchline("reid", "identify", "-g", tmp_path / "gallery.npz", "-q", tmp_path / "query.npz")
    assert done.stdout == "a?[2Jb?c\n    1  1.000  a?[2Jb?c\n"


class TestRefusals:
    def features(self, path: Path, sha256: str, dimension: int = 3) -> Path:
        made = EmbeddingModel("some-net", sha256, Kind.BODY, dimension)
        write_features(path, FeatureSet.of(np.ones((2, dimension), np.float32), made))
        return path

    def refused(self, *arguments: str | Path, code: int) -> str:
        with pytest.raises(WatchlineError) as refusal:
            app(["reid", *map(str, arguments)], standalone_mode=False)
        assert refusal.value.exit_code == code
        line = str(refusal.value)
        assert "\n" not in line
        return line

    def test_features_of_two_models_do_not_meet(self, tmp_path: Path) -> None:
        known = self.features(tmp_path / "known.npz", "12" * 32)
        asked = self.features(tmp_path / "asked.npz", "34" * 32)
        line = self.refused("identify", "--gallery", known, "--query", asked, code=1)
        assert f"{known} holds vectors of some-net (121212121212), and vectors of another model file" in line

    def test_a_changed_model_does_not_meet_its_features(self, model: Path, tmp_path: Path) -> None:
        known = self.features(tmp_path / "known.npz", "12" * 32, 24)
        me = save(tmp_path / "me.png", person("red"))
        line = self.refused("identify", "--gallery", known, "--query", me, "--model", model, code=1)
        assert f"{known} holds vectors of some-net (121212121212), and vectors of another model file" in line

    def test_a_model_that_is_not_known_here_must_be_given(self, model: Path, tmp_path: Path) -> None:
        """Its name alone, which anybody may have written, has no file opened."""
        known = self.features(tmp_path / "known.npz", "12" * 32, 24)
        me = save(tmp_path / "me.png", person("red"))
        line = self.refused("identify", "--gallery", known, "--query", me, code=2)
        assert line == (
            f"{known}: vectors of some-net (sha256 121212121212), and no model known here is that file; give it with "
            "--model FILE, or extract them again by one that is"
        )

    def test_folders_of_pictures_must_be_there_and_go_with_a_page(self, tmp_path: Path) -> None:
        both = self.features(tmp_path / "known.npz", "12" * 32)
        line = self.refused("identify", "-g", both, "-q", both, "--pictures", tmp_path, code=2)
        assert line == "--pictures: says whose pictures may be in the page; give --html, too"
        gone = tmp_path / "gone"
        line = self.refused("identify", "-g", both, "-q", both, "--html", "a.html", "--pictures", gone, code=2)
        assert line == f"--pictures {gone}: there is no such folder; name one"

    def test_what_cannot_be_written_is_told_before_the_work(self, tmp_path: Path) -> None:
        ask = ("identify", "-g", tmp_path / "nothing", "-q", tmp_path / "nothing")
        there = save(tmp_path / "there.jpg", person("red"))
        line = self.refused(*ask, "--html", there, code=2)
        assert line == f"--html {there}: is there already; choose another, or replace it with --overwrite"
        assert "is a folder; name a file in it" in self.refused(*ask, "--json", tmp_path, code=2)
        assert "there is no folder" in self.refused(*ask, "--csv", tmp_path / "no" / "a.csv", code=1)
        line = self.refused(*ask, "--csv", "a", "--json", "a", code=2)
        assert line == "--json and --csv: one file for two of them; name several"

    def test_features_that_do_not_say_their_model_meet_no_others(self, data_dir: Path, tmp_path: Path) -> None:
        unsaid, me = data_dir / "reid" / "market150_osnet_feats.npz", tmp_path / "me.png"
        line = self.refused("identify", "--gallery", unsaid, "--query", me, code=2)
        assert f"{unsaid}: does not say which model made its vectors" in line

    def test_a_model_of_another_dimension_does_not_meet_features(self, tmp_path: Path) -> None:
        known = self.features(tmp_path / "known.npz", "12" * 32, 24)
        wider = write_tiny_embedder(tmp_path / "wider.onnx", columns=3)
        me = save(tmp_path / "me.png", person("red"))
        line = self.refused("identify", "--gallery", known, "--query", me, "--model", wider, code=1)
        assert "24 numbers a vector; " in line
        assert "gives 36" in line
