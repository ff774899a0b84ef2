from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from watchline.pipeline.files import LineFile, write_whole
from watchline.streams.errors import OutputError


def test_lines_are_on_disk_at_once(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "a.txt")
    file.write("one")
    assert (tmp_path / "a.txt").read_text() == "one\n"
    file.write("zwölf")
    file.close()
    file.close()
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "one\nzwölf\n"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"file/a\.txt: cannot write \(not a directory\)"):
        LineFile(tmp_path / "file" / "a.txt")


def test_bytes_and_text_are_written_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.bin", b"\x00\xff\n")
    write_whole(tmp_path / "a.txt", "zwölf\udcff\n")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff\n"
    assert (tmp_path / "a.txt").read_bytes() == "zwölf\\udcff\n".encode()


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from watchline.pipeline.files import LineFile, write_whole
from watchline.streams.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
file = LineFile(Path(sys.argv[1]) / "lines.txt")
written = 0
try:
    while True:
        file.write("x" * 299)
        written += 1
except OutputError as error:
    print(written, error)
file.close()
try:
    write_whole(Path(sys.argv[1]) / "whole.txt", "y" * 2000)
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_file_that_can_grow_no_more_ends_with_a_whole_line(tmp_path: Path) -> None:
    (tmp_path / "whole.txt").write_text("before")
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("3 ")
    assert "lines.txt: cannot write (file too large)" in first
    assert "whole.txt: cannot write" in second
    assert (tmp_path / "lines.txt").read_text() == ("x" * 299 + "\n") * 3
    assert (tmp_path / "whole.txt").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines.txt", "whole.txt"]
