"""Recorded files, decoded by FFmpeg through PyAV: anything that FFmpeg reads, from the local disk only."""

from __future__ import annotations

import math
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from watchline.streams.errors import StreamError
from watchline.streams.frame import ClockSource, Frame
from watchline.streams.libav_picture import Converter, quarter_turns
from watchline.streams.source import SourceInfo, SourceReport

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer
    from av.error import FFmpegError

FALLBACK_FPS = 25.0
LONGEST_GAP_S = 3600.0  # between two pictures of one file
LEAST_STEP_S = 1e-6  # files may give two pictures one time
MAX_PIXELS = 1 << 28  # of one picture; a damaged or hostile header may announce any size

# Formats that name other files or addresses, or that take any text for a picture.
_REFUSED_FORMATS = frozenset({"concat", "dash", "hls", "image2", "lavfi", "rtsp", "sdp", "tty"})
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC).timestamp()  # a clock that was never set says 1904, 1970 or 1980


class FileSource:
    """Frames of one recorded file.

    `pts_s` counts from the start of the container, as a player's clock does, so it need not begin at 0 where the sound
    begins first. `captured_at` adds the file's `creation_time`, or its modification time where it has none; some
    recorders write the end of the recording there. Pictures are turned upright as the file says (phones); turned ones
    offer no planes. Pixel aspect ratio and interlacing are left as they are.

    FFmpeg often conceals damage inside a picture without a word: an empty report proves only that all were decoded.
    """

    def __init__(self, path: Path, camera: str, threads: int = 1) -> None:
        """Opens `path` and decodes its first picture.

        Args:
            path: a local file.
            camera: name for its frames.
            threads: decoder threads; more than one costs more CPU per frame.

        Raises:
            StreamError: there is no such file, it may not be read, or it holds no picture that can be decoded.
        """
        self._camera = camera
        self._tally = _Tally()
        self._sequence = 0
        self._container = _open(path)
        try:
            self._stream = _video_stream(self._container, path)
            context = self._stream.codec_context
            context.options = {"max_pixels": str(MAX_PIXELS)}
            context.thread_count = threads
            # FFmpeg's HEVC decoder can wait for ever on a damaged file when it decodes several frames at once.
            context.thread_type = "NONE" if threads == 1 else "SLICE" if context.name == "hevc" else "AUTO"
            self._started_at = _started_at(self._container, self._stream, path)
            self._expected = _expected_frames(self._container, self._stream)
            self._announced_s = _announced_s(self._container, self._stream)
            self._clock = _Clock(self._container, self._stream)
            self._converter = Converter()
            self._demuxed = self._container.demux(self._stream)
            self._decoded = self._decode()
            first = next(self._decoded, None)
            if first is None:
                reason = self._tally.first_error or "it ends before the first one"
                raise StreamError(f"{path}: holds no decodable picture ({reason}); record or copy it again")
        except StreamError:
            self._container.close()
            raise
        self._info = _info(self._container, self._stream, first, self._announced_s)
        self._frames: Iterator[VideoFrame] = chain([first], self._decoded)

    @property
    def camera(self) -> str:
        """The name that its frames carry."""
        return self._camera

    @property
    def info(self) -> SourceInfo:
        """What the file says of itself; `fps` is 25 where it says nothing, width and height are those shown upright."""
        return self._info

    def read(self) -> Frame | None:
        """Returns the next frame, or None at the end and after `close()`."""
        decoded = next(self._frames, None)
        if decoded is None:
            return None
        pts_s = self._clock.seconds(decoded)
        sequence, self._sequence = self._sequence, self._sequence + 1
        picture = self._converter.picture(decoded)
        return Frame(self._camera, sequence, pts_s, self._started_at + pts_s, ClockSource.FILE, picture)

    def report(self) -> SourceReport:
        """Returns what reading has shown so far; after the end, the verdict."""
        tally = self._tally
        missing = max(0, self._expected - tally.hidden - self._sequence) if tally.ended else 0
        damage = tally.sentences() + self._shortfall(missing)
        if self._clock.wrong:
            damage.append(f"impossible picture times, replaced by the average rate: {self._clock.wrong}")
        return SourceReport(self._sequence, tally.failed + tally.corrupt, missing, tuple(damage))

    def close(self) -> None:
        """Releases the file; frames given out stay valid."""
        self._frames = iter(())
        self._decoded.close()
        release(self._demuxed)
        self._container.close()

    def _shortfall(self, missing: int) -> list[str]:
        """Returns what to say where less came than was announced; B-frame delay and rounding stay below the bound."""
        end_s = self._clock.end_s
        if missing:
            cut = self._tally.packets < self._expected
            fate = f"the file is cut short after {end_s:.1f} s" if cut else f"{missing} could not be decoded"
            return [f"announced {self._expected - self._tally.hidden} frames, decoded {self._sequence}: {fate}"]
        announced_s = self._announced_s or 0.0
        if not self._tally.ended or self._expected or self._clock.wrong:
            return []
        cut = announced_s - end_s > max(2 / self._info.fps, 0.01 * announced_s)
        return [f"announced {announced_s:.1f} s, decoded {end_s:.1f} s: the file is cut short"] if cut else []

    def _decode(self) -> Generator[VideoFrame, None, None]:
        """Yields every picture; damage is counted and passed over."""
        for packet in self._packets():
            yield from self._decode_packet(packet)
        yield from self._decode_packet(None)
        self._tally.ended = True

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Yields the packets that hold something; an error while reading the container ends the file."""
        from av.error import FFmpegError

        while True:
            try:
                packet = next(self._demuxed)
            except (StopIteration, IndexError):  # PyAV ends by the latter where damage made a stream appear midway
                return
            except FFmpegError as error:
                self._tally.stopped = f"reading stopped after {self._clock.end_s:.1f} s ({error.strerror})"
                return
            if packet.size == 0 and packet.dts is None:
                continue  # PyAV's own mark of the end, which the decoder must see only once
            self._tally.packets += 1
            # An empty packet in AVI repeats the picture before it; for the decoder it would be the end.
            self._tally.hidden += packet.is_discard or packet.size == 0
            if packet.size:
                yield packet

    def _decode_packet(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        from av.error import FFmpegError

        try:
            frames = self._stream.decode(packet)
        except FFmpegError as error:
            self._tally.failed += 1
            self._tally.first_error = self._tally.first_error or f"after {self._clock.end_s:.1f} s: {error.strerror}"
            return []
        self._tally.corrupt += sum(frame.is_corrupt for frame in frames)
        return frames


@dataclass(slots=True)
class _Tally:
    """What went wrong while decoding."""

    packets: int = 0  # that the container gave
    hidden: int = 0  # of these, not meant to be shown: before an edit list's start, or empty
    failed: int = 0  # of these, those that could not be decoded
    corrupt: int = 0  # pictures that the decoder itself marks as damaged
    first_error: str = ""  # where and why the first packet failed
    stopped: str = ""  # why the container could not be read to its end
    ended: bool = False

    def sentences(self) -> list[str]:
        first = self.first_error
        told = [f"packets that could not be decoded: {self.failed}, the first {first}"] if first else []
        told += [f"damaged pictures, used as they are: {self.corrupt}"] if self.corrupt else []
        return told + ([self.stopped] if self.stopped else [])


class _Clock:
    """Seconds since the start of the container, rising with every picture; equal times come a microsecond apart.

    A missing time continues at the average rate; so does an impossible one (earlier than the last, or over an hour
    later), which is counted. Two in a row mean that the camera's clock was set anew: it is followed from there.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._time_base_s = float(stream.time_base or 1)
        self._period_s = 1 / _fps(stream)
        # AVI stores no display times; FFmpeg derives wrong ones where there are B frames. Decode times are only late.
        self._by_dts = container.format.name == "avi"
        start: int | None = container.start_time
        self._origin_s = math.inf if start is None or self._by_dts else start / 1e6
        self._last_s = 0.0
        self._given_s = -LEAST_STEP_S
        self._in_doubt = False
        self.end_s = 0.0  # of the last picture
        self.wrong = 0

    def seconds(self, frame: VideoFrame) -> float:
        """Returns the time of the next picture."""
        stamp = frame.dts if self._by_dts else frame.pts
        now_s = self.end_s
        if stamp is not None:
            told_s = stamp * self._time_base_s
            if self.end_s == 0 or math.isinf(self._origin_s):
                self._origin_s = min(self._origin_s, told_s - self.end_s)
            now_s = self._believe(told_s)
        self._last_s = now_s
        self.end_s = now_s + (frame.duration * self._time_base_s or self._period_s)
        self._given_s = max(now_s, self._given_s + LEAST_STEP_S)
        return self._given_s

    def _believe(self, told_s: float) -> float:
        step_s = told_s - self._origin_s - self._last_s
        if 0 <= step_s <= LONGEST_GAP_S:
            self._in_doubt = False
            return self._last_s + step_s
        self.wrong += 1
        if -self._period_s < step_s < 0:
            return self._last_s
        now_s = self._last_s + self._period_s
        if self._in_doubt:
            self._origin_s = told_s - now_s
        self._in_doubt = not self._in_doubt
        return now_s


def release(packets: Iterator[object]) -> None:
    """Frees what PyAV's demuxer holds, before its container is closed.

    It is a generator of Cython, and in a build for Python's stable ABI (as the wheels are) these do not end when they
    are forgotten: 0.2 kB would stay of each source that is left midway, and hold a page or two of freed memory each.
    """
    packets.close()  # type: ignore[attr-defined]  # PyAV's stubs call it an iterator


def _open(path: Path) -> InputContainer:
    """Opens a regular, local file; no format or protocol that leads to another file or address is followed."""
    import av
    from av.error import FFmpegError

    _refuse_what_is_no_file(path)
    formats = ",".join(sorted(av.formats_available - _REFUSED_FORMATS))
    options = {"protocol_whitelist": "file", "format_whitelist": formats}
    try:
        return av.open(str(path.absolute()), "r", options=options, metadata_errors="replace")
    except FFmpegError as error:
        raise StreamError(f"{path}: {_why_not(path, error)}") from error


def _refuse_what_is_no_file(path: Path) -> None:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
    except FileNotFoundError as error:
        raise StreamError(f"{path}: no such file; check the name") from error
    except OSError as error:
        raise StreamError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if stat.S_ISDIR(status.st_mode):
        raise StreamError(f"{path}: is a folder; name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise StreamError(f"{path}: is a device or a pipe; save the video as a file first")
    if status.st_size == 0:
        raise StreamError(f"{path}: is empty (0 bytes); record or copy it again")


def _why_not(path: Path, error: FFmpegError) -> str:
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:] == b"ftyp":
        return "is an MP4 file without its index, as a recorder leaves it that was stopped too soon; repair or copy it"
    return f"is not a video file that can be read ({error.strerror}); convert it to MP4 (playlists are not followed)"


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Returns the best stream of moving pictures; cover art is none."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails
    candidates = [stream for stream in container.streams.video if not stream.disposition & still]
    if not candidates:
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        raise StreamError(f"{path}: holds {kinds or 'nothing'} only, no video; name a file with moving pictures")
    best = container.streams.best("video")
    chosen = next((stream for stream in candidates if stream is best), candidates[0])
    if chosen.codec_context is None:
        raise StreamError(f"{path}: its video codec is not known here; convert it to H.264")
    return chosen


def _expected_frames(container: InputContainer, stream: VideoStream) -> int:
    """Returns how many packets the container says it has; 0 where it does not say."""
    if container.format.name.startswith("mov") and stream.frames:
        return min(stream.frames, len(stream.index_entries))  # an edit list takes whole GOPs out of the index
    return stream.frames


def _announced_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Returns the announced duration of the video alone, seconds; None where only that of the whole file is known."""
    if stream.duration is not None and stream.duration > 0:
        return float(stream.duration * (stream.time_base or 1))
    tag = stream.metadata.get("DURATION", "")  # Matroska, "HH:MM:SS.fraction"
    if tag.count(":") == 2 and tag.replace(":", "").replace(".", "", 1).isdecimal():
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return max(container.duration or 0, 0) / 1e6 or None if len(container.streams) == 1 else None


def _fps(stream: VideoStream) -> float:
    rates = (float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate)
    return next((rate for rate in rates if 0 < rate <= 1000), FALLBACK_FPS)


def _started_at(container: InputContainer, stream: VideoStream, path: Path) -> float:
    """Returns when the recording began, UTC seconds since the epoch."""
    text = container.metadata.get("creation_time") or stream.metadata.get("creation_time") or ""
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        return path.stat().st_mtime
    created_at = (created if created.tzinfo else created.replace(tzinfo=UTC)).timestamp()
    return created_at if created_at >= _EARLIEST else path.stat().st_mtime


def _info(container: InputContainer, stream: VideoStream, first: VideoFrame, announced_s: float | None) -> SourceInfo:
    height, width = (first.width, first.height) if quarter_turns(first) % 2 else (first.height, first.width)
    duration_s = announced_s or max(container.duration or 0, 0) / 1e6 or None
    name = stream.codec_context.name
    return SourceInfo("video", width, height, _fps(stream), stream.frames or None, duration_s, name)
