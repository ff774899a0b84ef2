"""Which kind of file a photo is, told by its first bytes: a name says nothing. Of others, what to do about it."""

from __future__ import annotations

from typing import Final

TAKEN: Final = "JPEG, PNG or WebP"

_EXPORT: Final = "open it where it came from, and share or save it as JPEG"
_STILL: Final = "stop it where the person is seen best, and save that picture, such as a screenshot"
_OTHERS: Final = (
    (b"GIF8", "a GIF picture", _EXPORT),
    (b"BM", "a BMP picture", _EXPORT),
    (b"II*\0", "a TIFF picture", _EXPORT),
    (b"MM\0*", "a TIFF picture", _EXPORT),
    (b"\xff\x0a", "a JPEG XL picture", _EXPORT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", _EXPORT),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", _EXPORT),
    (b"8BPS", "a Photoshop picture", _EXPORT),
    (b"%PDF", "a PDF document", "open it, and save the photo in it as a picture, such as a screenshot"),
    (b"PK\x03\x04", "a ZIP archive or an office document", "take the photo out of it"),
    (b"\x1aE\xdf\xa3", "a video", _STILL),
    (b"\0\0\x01\xba", "a video", _STILL),
    (b"\0\0\x01\xb3", "a video", _STILL),
    (b"FLV\x01", "a video", _STILL),
)
_HEIF: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF: Final = {b"avif", b"avis"}
_TEXT_BYTES: Final = 1024  # in which a drawing says what it is
_ANIMATION: Final = 2  # flag of an extended WebP


def kind_of(data: bytes) -> str:
    """Returns "JPEG", "PNG" or "WebP".

    Args:
        data: all that the file holds.

    Raises:
        ValueError: it is of another kind; says which, where that is known, and what to do.

    >>> kind_of(b"GIF89a")
    Traceback (most recent call last):
    ValueError: is a GIF picture, want JPEG, PNG or WebP: open it where it came from, and share or save it as JPEG
    """
    if data.startswith(b"\xff\xd8"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    what, cure = _other(data)
    raise ValueError(f"is {what}, want {TAKEN}: {cure}")


def is_animated(data: bytes) -> bool:
    """Returns whether a PNG or WebP holds more than one picture; a decoder gives the first."""
    if data.startswith(b"RIFF"):
        return data[12:16] == b"VP8X" and bool(data[20] & _ANIMATION)
    # An animated PNG says so before its first pixels; the letters inside these would be no word.
    return data.startswith(b"\x89PNG") and b"acTL" in data[: data.find(b"IDAT")]


def _other(data: bytes) -> tuple[str, str]:
    """Returns what a file of another kind is, and what to do about it."""
    for start, what, cure in _OTHERS:
        if data.startswith(start):
            return what, cure
    if data[4:8] == b"ftyp":
        if data[8:12] in _HEIF | _AVIF:
            return f"{'an AVIF' if data[8:12] in _AVIF else 'a HEIC'} picture", _EXPORT
        return "a video", _STILL
    if data.startswith(b"RIFF") or (data[:1] == b"G" and data[188:189] == b"G"):
        return "a video or a sound", _STILL
    if b"<svg" in data[:_TEXT_BYTES].lower():
        return "a drawing (SVG)", _EXPORT
    return "no picture of a kind that is known here", "give the photo itself"
