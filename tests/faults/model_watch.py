"""What every Python process under `fuzz_models` loads first (as sitecustomize): it notes what a payload would do.

The pipe to note it in, and the folder that may be written to, come by environment: FUZZ_LOG, FUZZ_CACHE.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_NEVER: Final = frozenset(
    (
        *("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn"),
        *("socket.connect", "socket.bind", "webbrowser.open", "pickle.find_class", "ctypes.dlopen"),
        *("shutil.rmtree", "os.remove", "os.rename", "os.chmod", "os.kill", "os.symlink", "os.link"),
    )
)


def watch(pipe: int, allowed: str) -> None:
    """Notes in `pipe` from now on whatever is written outside the folder `allowed`, sent, started or unpickled."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        noted = event in _NEVER and args[:1] != (None,)  # ctypes opens the program itself so
        if event == "open" and isinstance(args[2], int) and args[2] & _WRITING:
            noted = not str(args[0]).startswith(allowed) and "__pycache__" not in str(args[0])
        if noted:
            os.write(pipe, f"{event} {args!r}"[:300].encode("utf-8", "backslashreplace") + b"\n")

    sys.addaudithook(hook)


if __name__ == "sitecustomize":
    watch(os.open(os.environ["FUZZ_LOG"], os.O_WRONLY | os.O_NONBLOCK), os.environ["FUZZ_CACHE"])
