"""Nothing that leaves the process holds a credential."""

from __future__ import annotations

import base64
import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchline.streams.redact import RedactingFormatter, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:secret@cam/h264", "rtsp://***@cam/h264"),
        ("rtsp://admin:s@cr@t@cam/h264", "rtsp://***@cam/h264"),
        ("[Errno 1] in 'https://u:p@h/a?b=1': no", "[Errno 1] in 'https://***@h/a?b=1': no"),
        ("http://token@cam/x", "http://***@cam/x"),
        ("http://cam/x?user=a&pwd=b&channel=1", "http://cam/x?user=***&pwd=***&channel=1"),
        ("http://cam/x?auth_token=abc", "http://cam/x?auth_token=***"),
        ("Authorization: Basic YWRtaW46c2VjcmV0", "Authorization: ***"),
        ("write to dock@site.org about rtsp://cam/a", "write to dock@site.org about rtsp://cam/a"),
        ("nothing to hide: 12:30 a@b", "nothing to hide: 12:30 a@b"),
    ],
)
def test_credentials_are_hidden_and_the_rest_stays(text: str, shown: str) -> None:
    assert redact(text) == shown


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
