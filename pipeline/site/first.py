"""A first site's file, made of addresses: each is looked at, and what is there stands beside it."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from watchline.pipeline.files import writing
from watchline.pipeline.secrets import expand
from watchline.pipeline.site.dumping import yaml_text
from watchline.pipeline.site.loading import parse_site
from watchline.pipeline.site.references import absolute, has_reference, names_in, replace_secrets
from watchline.streams.address import Address
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.errors import UsageError
from watchline.streams.failure import CameraError
from watchline.streams.probe import Probe
from watchline.streams.redact import redact

Look = Callable[[CameraSettings], Probe]

MOST_AT_ONCE: Final = 8
_TRIES: Final = 2  # RTSP by TCP, then by UDP
_FIRST_KEY_S: Final = 60.0  # so long a camera may take to its first key frame
_SPARE_S: Final = 5.0
_HEED_S: Final = 0.1
_LONGEST_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class Found:
    """One camera, as it goes into the file.

    Attributes:
        settings: by which it was looked at; holds its password.
        url: as it is written: a secret that was given stands as ${NAME}.
        variables: names that the environment must have, each with what it holds, in words.
        probe: what it gave; None where it gave nothing.
        reason: why it gave nothing; "" where it did.
    """

    settings: CameraSettings = field(repr=False)
    url: str = field(repr=False)
    variables: tuple[tuple[str, str], ...]
    probe: Probe | None = None
    reason: str = ""

    @property
    def sentence(self) -> str:
        """What was found, or why nothing was, in one line without secrets."""
        if self.probe is None:
            return f"gave no picture: {self.reason}"
        info = self.probe.info
        announced = f" (announced {info.fps:.4g})" if info.fps else ""
        size = f"{info.codec}, {info.width}x{info.height}"
        return _one_line(f"{size}, {self.probe.fps:.1f} fps{announced}, by {self.probe.backend}")


def name_cameras(urls: Sequence[str], like: CameraSettings) -> list[Found]:
    """Returns the cameras of some addresses, each with an id of its own and nothing found yet.

    Args:
        urls: as given; secrets may be named.
        like: how they are reached; its id and address are not looked at.

    Raises:
        UsageError: an address is none, or a secret is missing.
    """
    taken: set[str] = set()
    cameras = []
    for number, given in enumerate(urls, 1):
        address = Address.parse(expand(given))
        base = _id_of(given, address)
        name, again = base, 1
        while name.lower() in taken:
            again += 1
            name = f"{base}-{again}"
        taken.add(name.lower())
        url, variables = _without_secrets(given, f"CAMERA_{number}", name)
        cameras.append(Found(replace(like, camera=name, address=address), url, variables))
    return cameras


def bound_of(timeout_s: float, seconds: float) -> float:
    """Returns within how many seconds a look ends, if its library keeps to its time-outs."""
    return _TRIES * timeout_s + _FIRST_KEY_S + seconds + _SPARE_S


def look_at_all(
    cameras: Sequence[Found], look: Look, bound_s: float, tell: Callable[[Found], None] = lambda _: None
) -> tuple[list[Found], bool]:
    """Returns the cameras with what was found, and whether all looks have ended: a library may hang.

    Args:
        cameras: to look at, eight at a time.
        look: raises CameraError where there is no picture.
        bound_s: after which a look is given up; see `bound_of`.
        tell: is called as soon as one is known, in this thread.
    """
    results: dict[int, Found] = {}
    started: dict[int, tuple[threading.Thread, float]] = {}
    told: set[int] = set()
    waiting = list(range(len(cameras)))
    while len(told) < len(cameras):
        now_s = time.monotonic()
        under_way = [index for index in started if index not in told]
        while waiting and len(under_way) < MOST_AT_ONCE:
            index = waiting.pop(0)
            thread = threading.Thread(target=_look_at, args=(index, cameras[index], look, results), daemon=True)
            started[index] = thread, now_s
            under_way.append(index)
            thread.start()
        for index in under_way:
            thread, since_s = started[index]
            thread.join(_HEED_S / len(under_way))
            if thread.is_alive() and now_s - since_s < bound_s:
                continue
            late = replace(cameras[index], reason=f"no end of the look within {bound_s:.0f} s")
            told.add(index)
            tell(results.setdefault(index, late))
    return [results[index] for index in range(len(cameras))], not any(
        thread.is_alive() for thread, _ in started.values()
    )


def _look_at(index: int, camera: Found, look: Look, results: dict[int, Found]) -> None:
    try:
        found = replace(camera, probe=look(camera.settings))
    except CameraError as error:
        found = replace(camera, reason=_shown(f"{error.reason}: {error}", camera))
    except Exception as error:  # noqa: BLE001  # one camera's trouble is not that of the others
        found = replace(camera, reason=_shown(f"internal: {type(error).__name__}: {error}", camera))
    results.setdefault(index, found)


def first_site(cameras: Sequence[Found], name: str = "") -> str:
    """Returns the text of a site's file.

    Args:
        cameras: with what was found.
        name: of the site; "site" where it is empty.
    """
    like = cameras[0].settings
    variables = [item for camera in cameras for item in camera.variables]
    lines = ["# Written by `watchline config init`. `watchline config example` prints every key that there is."]
    if variables:
        lines += ["#", "# The service needs these environment variables, for instance by a file with mode 600:"]
        lines += [f"#   {variable}=({what})" for variable, what in dict(variables).items()]
    lines += ["", f"site: {yaml_text(name or 'site')}", "", "defaults:", "  fps: 5", "  classes: [person]"]
    options = {"backend": like.backend, "transport": like.transport, "hardware": like.hardware}
    lines += [f"  {key}: {value.value}" for key, value in options.items() if value.value not in ("auto", "never")]
    lines += ["  hardware: auto"] if like.hardware.value == "auto" else []
    lines += ["  tls_verify: false              # --insecure was given"] if not like.tls_verify else []
    lines += ["", "cameras:"]
    for camera in cameras:
        lines.append(f"  - id: {yaml_text(camera.settings.camera)}")
        lines.append(f"    # {camera.sentence}")
        lines.append(f"    url: {yaml_text(camera.url)}")
    lines += ["", "models:", "  people: {model: yolov8n}", ""]
    text = "\n".join(lines)
    parse_site(text, "the new file", Path.cwd())  # what is written can be read
    return text


def write_first(path: Path, text: str, *, overwrite: bool) -> None:
    """Writes a site's file, whole or not at all; only its owner may read it.

    Raises:
        UsageError: it is there already, and is not to be replaced.
        OutputError: the system refuses.
    """
    refuse_to_replace(path, overwrite=overwrite)
    part = None
    try:
        with writing(path, "--out"):
            # Such a file is made with mode 600, under a name that nobody else has.
            with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
                part = Path(file.name)
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                part.replace(path)
                part = None
            else:
                _put_beside(part, path)
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink()


def _put_beside(part: Path, path: Path) -> None:
    """Gives `part` the name `path` too, unless that is there by now."""
    try:
        os.link(part, path)
    except FileExistsError:
        refuse_to_replace(path, overwrite=False)
    except OSError:  # a file system without links
        refuse_to_replace(path, overwrite=False)
        part.replace(path)


def refuse_to_replace(path: Path, *, overwrite: bool) -> None:
    """Raises UsageError where `path` is there and is not to be replaced, or is no file."""
    with writing(path, "--out"):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path}: is a folder; name a file: -o {path / 'site.yaml'}")
    if not overwrite:
        raise UsageError(f"{path}: is there already; add --overwrite to replace it, or name another file: -o FILE")


def _without_secrets(given: str, prefix: str, camera: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Returns the address as it is written, and the variables that it needs."""
    variables = [(name, f"as you have set it, for {camera}") for name in names_in(given)]
    plainly = ", as plain text: a letter for each %XX" if "%" in given else ""
    count = 0

    def name_it(_secret: str, is_password: bool) -> str:
        nonlocal count
        count += not is_password
        name = f"{prefix}_PASSWORD" if is_password else f"{prefix}_SECRET{count if count > 1 else ''}"
        variables.append((name, f"the {'password' if is_password else 'secret'} that you gave for {camera}{plainly}"))
        return f"${{{name}}}"

    return replace_secrets(absolute(given, Path.cwd()), name_it), tuple(variables)


def _id_of(given: str, address: Address) -> str:
    """Returns an id made of the address, and of no secret: what is named in a path stays out of it."""
    if "://" not in given:
        return "camera" if has_reference(given) else address.default_name()
    masked = re.sub(r"\$\{[^}]*\}", "x", given)
    return Address.parse(masked).default_name()


def _shown(text: str, camera: Found) -> str:
    return _one_line(redact(camera.settings.address.redact(text)))[:_LONGEST_REASON]


def _one_line(text: str) -> str:
    """Returns `text` as a comment may hold it: one line, printable; a camera's answer may hold anything."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
