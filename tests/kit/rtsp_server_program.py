"""An RTSP server that plays recordings as cameras do, and misbehaves when told.

Run by the system's Python, which has `gi`; the tests never import it. Commands come as JSON lines on stdin, each is
answered by one JSON line on stdout. It ends when stdin closes, and by itself after `--life` seconds.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import json
import mmap
import os
import random
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gi

for _name in ("Gst", "GstApp", "GstRtsp", "GstRtspServer"):
    gi.require_version(_name, "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtsp, GstRtspServer  # noqa: E402, F401

# What was pushed and when: a count, then a ring of (number, monotonic seconds). Read by the Python side.
RING_ENTRIES = 4096
RING_HEAD = struct.Struct("<Q")
RING_ENTRY = struct.Struct("<Qd")

QUEUE_BYTES = 4_000_000  # an appsrc that nobody empties drops its oldest beyond this
# Media time starts here, so that it stays positive after a jump back: one whole round of the RTP timestamp (13 h).
ROOM_TO_JUMP_BACK = (1 << 32) * 1_000_000_000 // 90_000
LATE_S = 1.0  # a feed that is later than this leaves out what it missed, as a stopped camera does
SPARED_BYTES = 40  # the start of an access unit stays sound when the rest is spoilt
SPOILT_BYTES = 12
ROLE = "viewer"

STAGES = {
    "h264": (
        "video/x-h264,stream-format=byte-stream,alignment=au",
        "h264parse config-interval=-1 ! rtph264pay",
    ),
    "h265": (
        "video/x-h265,stream-format=byte-stream,alignment=au",
        "h265parse config-interval=-1 ! rtph265pay",
    ),
    "mjpeg": ("image/jpeg", "jpegparse ! rtpjpegpay"),
}
SOUND = "audiotestsrc is-live=true wave=silence ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay pt=8 name="


class Recording:
    """Access units with their numbers, in memory that every client shares."""

    def __init__(self, path: str) -> None:
        content = Path(path).read_bytes()
        (length,) = struct.unpack_from(">I", content)
        header, at = json.loads(content[4 : 4 + length]), 4 + length
        self.codec: str = header["codec"]
        self.fps: int = header["fps"]
        self.first_number: int = header["first_number"]
        self.units: list[Any] = []
        self.keyframes: list[int] = []
        while at < len(content):
            size, keyframe = struct.unpack_from(">IB", content, at)
            if keyframe:
                self.keyframes.append(len(self.units))
            self.units.append(GLib.Bytes.new(content[at + 5 : at + 5 + size]))
            at += 5 + size

    def keyframe_from(self, position: int) -> int:
        """Returns the first keyframe at or after `position`, in the next round where there is none."""
        return next((at for at in self.keyframes if at >= position), self.keyframes[0])


@functools.lru_cache(maxsize=64)
def recording_of(path: str) -> Recording:
    """Returns the recording, one copy for all mounts; the file of a path is written once and never changed."""
    return Recording(path)


class Ring:
    """A file in which other processes see what was pushed, and when."""

    def __init__(self, path: str) -> None:
        size = RING_HEAD.size + RING_ENTRIES * RING_ENTRY.size
        with Path(path).open("w+b") as file:
            file.truncate(size)
            self._memory = mmap.mmap(file.fileno(), size)
        self.count = 0

    def add(self, number: int, at_s: float) -> None:
        RING_ENTRY.pack_into(self._memory, RING_HEAD.size + self.count % RING_ENTRIES * RING_ENTRY.size, number, at_s)
        self.count += 1
        RING_HEAD.pack_into(self._memory, 0, self.count)


class Mount:
    """One path of the server: what it plays, and how it misbehaves at present."""

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self.path = path
        self.options = options
        self.recording = recording_of(options["recording"]) if options.get("recording") else None
        self.ring = Ring(options["ring"])
        self.shared: bool = options.get("shared", True)
        self.position = 0  # where the camera is: a shared medium that is made anew goes on from here
        self.frozen = False
        self.silent = False
        self.corrupt_share = 0.0
        self.jumped_s = 0.0
        self.random = random.Random(options.get("seed", 0))

    def launch(self) -> str:
        """Returns the pipeline, in the words of gst-launch."""
        if self.recording is None:
            return f"( {SOUND}pay0 )"
        caps, stages = STAGES[self.recording.codec]
        wanted = {key: self.options.get(key) for key in ("timestamp-offset", "seqnum-offset")}
        offsets = "".join(f" {key}={value}" for key, value in wanted.items() if value is not None)
        source = (
            f"appsrc name=src is-live=true format=time max-bytes={QUEUE_BYTES}"
            f" leaky-type=downstream caps={caps},framerate={self.recording.fps}/1"
        )
        pay = f"{stages} name=pay0 pt={26 if self.recording.codec == 'mjpeg' else 96} mtu=1400"
        sound = f" {SOUND}pay1" if self.options.get("sound") else ""
        return f"( {source} ! {pay}{offsets}{sound} )"

    def spoilt(self, unit: Any) -> Any:
        """Returns the unit, with some bytes flipped in the share of units that is to be corrupt."""
        if self.random.random() >= self.corrupt_share:
            return unit
        content = bytearray(unit.get_data())
        for _ in range(SPOILT_BYTES if len(content) > SPARED_BYTES else 0):
            content[self.random.randrange(SPARED_BYTES, len(content))] ^= self.random.randrange(1, 256)
        return GLib.Bytes.new(bytes(content))


class Feed:
    """Pushes a mount's recording into one appsrc: one for all clients of a shared mount, else one a client."""

    def __init__(self, mount: Mount, recording: Recording, media: Any) -> None:
        self.mount = mount
        self.source = media.get_element().get_by_name("src")
        self.recording = recording
        self.position = self.recording.keyframe_from(mount.position) if mount.shared else 0
        self.start_s = self.due_s = time.monotonic()
        self.needs_keyframe = False
        self.paid = media.get_element().get_by_name("pay0").get_static_pad("src")
        self.room = 0 if mount.options.get("sound") else ROOM_TO_JUMP_BACK
        self.ahead: int | None = None
        self.over = False

    def push(self) -> None:
        """Pushes the unit that is due and sets the time of the next."""
        playing = self.mount.recording
        if playing is not None and playing is not self.recording:
            self.recording, self.position = playing, 0
        if not self.mount.silent:
            self._push_unit()
        else:
            self.needs_keyframe = True
        self.due_s += 1 / self.recording.fps
        if time.monotonic() - self.due_s > LATE_S:
            self.due_s = time.monotonic()

    def _push_unit(self) -> None:
        position = self._next_position()
        buffer = Gst.Buffer.new_wrapped_bytes(self.mount.spoilt(self.recording.units[position]))
        buffer.pts = buffer.dts = int((self.due_s - self.start_s) * Gst.SECOND) + self._ahead()
        buffer.duration = Gst.SECOND // self.recording.fps
        self.mount.ring.add(self.recording.first_number + position, time.monotonic())
        self.over = self.source.push_buffer(buffer) != Gst.FlowReturn.OK

    def _ahead(self) -> int:
        """Returns how far media time is ahead of running time, in nanoseconds.

        RTP timestamps follow media time. Behind the payloader the difference is taken away again: buffers leave at
        once, and sender reports tie the timestamps to the true wall clock, as a camera does whose media clock jumped.
        """
        ahead = self.room + int(self.mount.jumped_s * Gst.SECOND)
        if ahead != self.ahead:
            self.ahead = ahead
            self.paid.set_offset(-ahead)
        return ahead

    def _next_position(self) -> int:
        recording = self.recording
        if self.mount.frozen:
            self.needs_keyframe = True
            return max((at for at in recording.keyframes if at <= self.position), default=0)
        if self.needs_keyframe:
            self.needs_keyframe = False
            self.position = recording.keyframe_from(self.position)
        position = self.position
        self.position = (position + 1) % len(recording.units)
        if self.mount.shared:
            self.mount.position = self.position
        return position


class Feeder(threading.Thread):
    """Pushes for every feed at its time."""

    def __init__(self) -> None:
        super().__init__(name="feeder", daemon=True)
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Feed]] = []

    def add(self, feed: Feed) -> None:
        with self._changed:
            heapq.heappush(self._waiting, (feed.due_s, id(feed), feed))
            self._changed.notify()

    def run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                wait_s = self._waiting[0][0] - time.monotonic()
                if wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                feed = heapq.heappop(self._waiting)[2]
            if not feed.over:
                feed.push()
            if not feed.over:
                self.add(feed)


class Server:
    """The RTSP server and what its commands do."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._server = GstRtspServer.RTSPServer()
        self._server.set_address(arguments.host)
        self._server.set_service(str(arguments.port))
        self._user: str | None = arguments.user
        if self._user is not None:
            self._server.set_auth(make_auth(self._user, os.environ.get("RTSP_PASSWORD", ""), arguments.auth))
        self._mounts: dict[str, Mount] = {}
        self._watched: dict[Any, str] = {}  # client -> the path it asked for last
        self._rtcp_interval_s: float = arguments.rtcp_interval
        self._feeder = Feeder()
        self._feeder.start()
        # A thread a client: one that waits for a silent camera must not hold up the others.
        self._server.get_thread_pool().set_max_threads(-1)
        self._server.connect("client-connected", self._on_client)

    def start(self) -> dict[str, Any]:
        if self._server.attach(None) == 0:
            return {"error": "the address is in use, or is not one of this machine"}
        return {"port": self._server.get_bound_port(), "pid": os.getpid()}

    def add(self, mount: str, **options: Any) -> dict[str, Any]:
        self._mounts[mount] = Mount(mount, options)
        self._serve(self._mounts[mount])
        return {}

    def remove(self, mount: str) -> dict[str, Any]:
        del self._mounts[mount]
        self._server.get_mount_points().remove_factory(mount)
        return self.drop_clients(mount)

    def change(self, mount: str, recording: str) -> dict[str, Any]:
        """Plays another recording. SDP names the codec once and for all, so another codec ends the sessions."""
        changed, before = recording_of(recording), self._mounts[mount].recording
        self._mounts[mount].recording = changed
        self._mounts[mount].position = 0
        if before is not None and before.codec == changed.codec:
            return {"dropped": 0}
        self._server.get_mount_points().remove_factory(mount)
        self._serve(self._mounts[mount])
        return self.drop_clients(mount)

    def set(self, mount: str, **values: Any) -> dict[str, Any]:
        for name, value in values.items():
            if name not in ("frozen", "silent", "corrupt_share"):
                raise ValueError(f"{name}: not a state of a mount")
            setattr(self._mounts[mount], name, value)
        return {}

    def jump(self, mount: str, seconds: float) -> dict[str, Any]:
        self._mounts[mount].jumped_s += seconds
        return {}

    def clients(self) -> dict[str, Any]:
        return {"clients": len(self._watched), "of": sorted(self._watched.values())}

    def drop_clients(self, mount: str | None = None) -> dict[str, Any]:
        dropped = [client for client, path in self._watched.items() if mount in (None, path)]
        remove, keep = GstRtspServer.RTSPFilterResult.REMOVE, GstRtspServer.RTSPFilterResult.KEEP
        self._server.client_filter(lambda _, client: remove if client in dropped else keep)
        return {"dropped": len(dropped)}

    def _serve(self, mount: Mount) -> None:
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(mount.launch())
        factory.set_shared(mount.shared)
        factory.set_latency(0)
        names = mount.options.get("protocols", "tcp+udp").split("+")
        known = {"tcp": GstRtsp.RTSPLowerTrans.TCP, "udp": GstRtsp.RTSPLowerTrans.UDP}
        protocols = known[names[0]]
        for name in names[1:]:
            protocols |= known[name]
        factory.set_protocols(protocols)
        if self._user is not None:
            permissions = GstRtspServer.RTSPPermissions()
            for what in ("media.factory.access", "media.factory.construct"):
                permissions.add_permission_for_role(ROLE, what, True)
            factory.set_permissions(permissions)
        factory.connect("media-configure", self._on_media, mount)
        self._server.get_mount_points().add_factory(mount.path, factory)

    def _on_media(self, _factory: Any, media: Any, mount: Mount) -> None:
        media.connect("new-stream", self._on_stream)
        media.connect("target-state", self._on_target_state, mount)
        if mount.recording is None:
            return
        feed = Feed(mount, mount.recording, media)
        media.connect("unprepared", lambda _: setattr(feed, "over", True))
        self._feeder.add(feed)

    def _on_stream(self, _media: Any, stream: Any) -> None:
        session = stream.get_rtpsession()
        if session is not None:
            session.set_property("rtcp-min-interval", int(self._rtcp_interval_s * Gst.SECOND))

    def _on_target_state(self, _media: Any, state: int, mount: Mount) -> None:
        """Gives the mount a fresh factory when a medium ends: a shared one that is going would be handed out as 503."""
        if Gst.State(state) == Gst.State.NULL and mount.shared and self._mounts.get(mount.path) is mount:
            self._serve(mount)

    def _on_client(self, _server: Any, client: Any) -> None:
        self._watched[client] = ""
        client.connect("describe-request", self._on_describe)
        client.connect("closed", lambda gone: self._watched.pop(gone, None))

    def _on_describe(self, client: Any, context: Any) -> None:
        self._watched[client] = context.uri.abspath


def make_auth(user: str, password: str, method: str) -> Any:
    """Returns what asks clients for `user` and `password`, by "basic" or "digest"."""
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    if method == "basic":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    return auth


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def obey(server: Server, line: str) -> None:
    """Does what a command asks for and answers."""
    try:
        command = json.loads(line)
        do = command.pop("do")
        if do not in ("add", "remove", "change", "set", "jump", "clients", "drop_clients"):
            raise ValueError(f"{do}: not a command")
        say(getattr(server, do)(**command))
    except Exception as error:  # noqa: BLE001 - whoever asked shall know
        say({"error": f"{type(error).__name__}: {error}"})


def listen(server: Server) -> None:
    """Hands commands to the main loop until stdin closes, and ends the process then."""
    for line in sys.stdin:
        GLib.idle_add(obey, server, line)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user")
    parser.add_argument("--auth", choices=("basic", "digest"), default="digest")
    parser.add_argument("--rtcp-interval", type=float, default=1.0, help="seconds between sender reports")
    parser.add_argument("--life", type=int, default=900, help="seconds after which the server ends by itself")
    arguments = parser.parse_args()
    Gst.init(None)
    server = Server(arguments)
    say(server.start())
    threading.Thread(target=listen, args=(server,), daemon=True).start()
    GLib.timeout_add_seconds(arguments.life, os._exit, 3)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
