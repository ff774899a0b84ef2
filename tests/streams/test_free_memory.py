from __future__ import annotations

from pathlib import Path

import pytest

from watchline.streams.free_memory import usable_memory_bytes


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"memory.max": "1000000"}, 1_000_000),
        ({"memory.max": "1000000", "memory.current": "400000"}, 600_000),
        ({"memory.max": "1000000", "memory.current": "400000", "memory.stat": "anon 5\ninactive_file 300000"}, 900_000),
        ({"memory.max": "1000000", "memory.current": "1200000"}, 0),
        ({"memory.limit_in_bytes": "1000000", "memory.usage_in_bytes": "250000"}, 750_000),
    ],
)
def test_what_a_cgroup_holds_already_is_not_free(tmp_path: Path, files: dict[str, str], free: int) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    own = tmp_path / "own"
    own.write_text("0::/\n")
    assert usable_memory_bytes(tmp_path, own) == free
