"""Nothing that leaves the process holds a credential."""

from __future__ import annotations

import base64
import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchline.streams.redact import RedactingFormatter, redact, redact_argument


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:secret@cam/h264", "rtsp://***@cam/h264"),
        ("rtsp://admin:s@cr@t@cam/h264", "rtsp://***@cam/h264"),
        ("[Errno 1] in 'https://u:p@h/a?b=1': no", "[Errno 1] in 'https://***@h/a?b=1': no"),
        ("http://token@cam/x", "http://***@cam/x"),
        ("http://cam/x?user=a&pwd=b&channel=1", "http://cam/x?user=***&pwd=***&channel=1"),
        ("http://cam/x?auth_token=abc", "http://cam/x?auth_token=***"),
        (
            "http://cam/x?X-Amz-Signature=a&api-key=b&sig=c&n=1",
            "http://cam/x?X-Amz-Signature=***&api-key=***&sig=***&n=1",
        ),
        ("http://cam/x?pw=a&passphrase=b&loginpas=c", "http://cam/x?pw=***&passphrase=***&loginpas=***"),
        ("cannot open rtmp://cam/live/key-1: refused", "cannot open rtmp://cam/live/***: refused"),
        ("no (rtmp://cam/live/***); try again", "no (rtmp://cam/live/***); try again"),
        ("no (rtsp://cam/x?token=***); try again", "no (rtsp://cam/x?token=***); try again"),
        ("login failed with password=abc", "login failed with password=***"),
        ("check the password: it is refused", "check the password: it is refused"),
        ('{"Authorization": "Basic YWRt"}', '{"Authorization": ***'),
        ('Authorization: Digest username="admin", response="ab12"', "Authorization: ***"),
        ("Authorization: Basic YWRtaW46c2VjcmV0", "Authorization: ***"),
        ("write to dock@site.org about rtsp://cam/a", "write to dock@site.org about rtsp://cam/a"),
        ("nothing to hide: 12:30 a@b", "nothing to hide: 12:30 a@b"),
    ],
)
def test_credentials_are_hidden_and_the_rest_stays(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


def test_a_short_password_is_hidden_where_it_stands_alone_and_words_stay_whole() -> None:
    assert redact('camera "camera-7": cam refused', ("cam",)) == 'camera "camera-7": *** refused'
    assert redact("a camera, 1 of 12; (1)", ("1",)) == "a camera, *** of 12; (***)"


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("rtsp://admin:se cret@cam/a", "rtsp://***@cam/a"),
        ("rtsp://ad/min:se/cret@cam/a", "rtsp://***@cam/a"),
        ("rtsp:/admin:secret@cam/a", "rtsp:/***@cam/a"),
        ("admin:se/cret@cam/a", "***@cam/a"),
        ("--url=rtsp://admin:secret@cam/a", "--url=rtsp://***@cam/a"),
        ("yard@home.mp4", "yard@home.mp4"),
    ],
)
def test_an_argument_shows_no_password_even_where_it_is_mistyped(argument: str, shown: str) -> None:
    assert redact_argument(argument) == shown


@given(st.text(min_size=3, max_size=20), st.text(max_size=20))
def test_a_known_secret_is_hidden_in_every_form_in_which_protocols_carry_it(secret: str, around: str) -> None:
    for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode(errors="ignore")).decode()):
        if form and form not in around and form not in "***":
            assert form not in redact(f"{around} <{form}> {around}".replace("***", ""), (secret,)).replace("***", "")


def test_log_lines_and_tracebacks_hold_no_credentials() -> None:
    try:
        raise ValueError("cannot open rtsp://admin:secret@cam/a")
    except ValueError as error:
        record = logging.LogRecord(
            "x", 40, "p", 1, "at %s", ("rtsp://a:secret@b",), (ValueError, error, error.__traceback__)
        )
    line = RedactingFormatter().format(record)
    assert "Traceback" in line
    assert "secret" not in line
