"""Starts the program of an ingest process, and says how one ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from types import MappingProxyType

from watchline.streams.ingest_wire import Channel

_PROGRAM = "watchline.streams.ingest_child"
# All that a child is told of its parent's environment: how to find libraries, devices, certificates, proxies, the time.
_ENVIRONMENT = frozenset(
    {
        *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),
        *("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
        *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    }
)
_ENVIRONMENT_PREFIXES = ("GST_", "LIBVA_", "GI_")
_ONE_THREAD = MappingProxyType({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})  # nothing there computes


def spawn(stderr: int, send_within_s: float) -> tuple[subprocess.Popen[bytes], Channel]:
    """Starts the program; returns it with this side of its channel.

    Args:
        stderr: where it writes what it says at last.
        send_within_s: after which a message that it does not take is given up.

    Raises:
        OSError: it cannot be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(ours)
    channel.limit(send_within_s)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
    }
    try:
        with theirs:
            child = subprocess.Popen(  # noqa: S603  # this very interpreter, with fixed arguments
                [sys.executable, "-P", "-m", _PROGRAM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[theirs.fileno()],
                env={**kept, **_ONE_THREAD},
                process_group=0,  # an interrupt from the terminal is for the parent
            )
    except BaseException:
        ours.close()
        raise
    return child, channel


def fate(status: int) -> str:
    """Returns how a process ended, by its exit status."""
    if status >= 0:
        return f"ended with exit status {status}"
    with suppress(ValueError):
        name = signal.Signals(-status).name
        return f"was killed by {name}" + (": out of memory?" if name == "SIGKILL" else "")
    return f"was killed by signal {-status}"
