"""Camera addresses: what is allowed, and that what is secret stays so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchline.streams.address import Address, Kind
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.errors import UsageError


def test_an_address_is_taken_apart() -> None:
    address = Address.parse("rtsp://admin:s%40fe@cam-7:8554/stream/1?profile=main")
    assert (address.kind, address.host, address.port) == (Kind.RTSP, "cam-7", 8554)
    assert (address.user, address.password, address.path) == ("admin", "s@fe", "/stream/1?profile=main")


def test_a_missing_port_is_that_of_the_protocol() -> None:
    assert Address.parse("rtsp://cam").port == 554
    assert Address.parse("https://cam/live.m3u8").port == 443


def test_an_ipv6_host_stands_in_brackets() -> None:
    address = Address.parse("rtsp://[fe80::1]:554/a")
    assert (address.host, address.port) == ("[fe80::1]", 554)
    assert Address.parse("rtsp://[::1]/a").port == 554


def test_a_password_may_hold_an_at_sign_as_people_write_it() -> None:
    assert Address.parse("rtsp://admin:p@ss@cam/a").password == "p@ss"


def test_what_connects_gets_the_password_and_nothing_that_is_shown_does() -> None:
    address = Address.parse("rtsp://admin:c%40nary@cam/a")
    assert address.url == "rtsp://admin:c%40nary@cam:554/a"
    assert "nary" not in f"{address} {address!r}"
    assert str(address) == "rtsp://***@cam:554/a"
    token = Address.parse("rtsp://cam/a?token=canary")
    assert "canary" not in f"{token} {token!r} {CameraSettings('dock', token, pipeline='x password=canary')!r}"


def test_plain_paths_are_files_and_video_devices_are_devices() -> None:
    assert Address.parse("clips/yard.mp4").kind is Kind.FILE
    assert Address.parse("file:///data/the%20yard.mp4").path == "/data/the yard.mp4"
    assert Address.parse("/dev/video0").kind is Kind.DEVICE
    assert Address.parse("v4l2:///dev/video2").path == "/dev/video2"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gopher://cam/a", "gopher:// is not allowed"),
        ("concat:a|b", None),
        ("./12:30 a@b.mp4", None),
        ("admin:secret@10.0.0.7/h264", "without rtsp://"),
        ("admin:se/cret@10.0.0.7/h264", "without rtsp://"),
        ("rtsp:/admin:secret@10.0.0.7/h264", "two slashes"),
        ("RTSP:admin:secret@10.0.0.7", "two slashes"),
        ("admin:secret@rtsp://10.0.0.7/h264", "must begin with"),
        ("rtsp://cam:0/a", "port"),
        ("rtsp://cam:99999/a", "port"),
        ("rtsp://cam:no/a", "port"),
        ("rtsp:///a", "no host name"),
        ("rtsp://ca m/a", "no host name"),
        ("rtsp://-o$x/a", "no host name"),
        ("rtsp://cam..lan/a", "no host name"),
        ("rtsp://admin:pa/ss@cam/a", "%2F"),
        ("/dev/sda", "/dev/video0"),
        ("rtsp://cam/a\nb", "control characters"),
        ("", "1 to 2048"),
        ("rtsp://cam/" + "a" * 3000, "1 to 2048"),
    ],
)
def test_other_addresses_are_refused_in_one_sentence(text: str, told: str | None) -> None:
    if told is None:
        assert Address.parse(text).kind is Kind.FILE  # FFmpeg's own protocols are names of files here
        return
    with pytest.raises(UsageError) as error:
        Address.parse(text)
    assert told in str(error.value)
    assert "cret" not in str(error.value)
    assert "admin" not in str(error.value)


@given(
    user=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12),
    password=st.text(st.characters(min_codepoint=33, max_codepoint=255), min_size=3, max_size=20),
)
def test_credentials_survive_the_way_to_the_library_whatever_they_hold(user: str, password: str) -> None:
    address = Address(Kind.RTSP, "rtsp", "cam", 554, "/a", user, password)
    again = Address.parse(address.url)
    assert (again.user, again.password, again.host, again.path) == (user, password, "cam", "/a")


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=20).map("Q7x{}".format))
def test_a_refusal_never_shows_the_password(password: str) -> None:
    for text in (
        f"rtsp://admin:{password}@cam:no/a",
        f"gopher://admin:{password}@cam/a",
        f"rtsp://a:{password}",
        f"admin:{password}@cam/a",
        f"admin:{password}@rtsp://cam/a",
        f"rtsp:/admin:{password}@cam/a",
        f"rtsp://admin:{password * 9}@cam/a\n",
        f"/dev/admin:{password}@cam",
    ):
        try:
            shown = str(Address.parse(text))
        except UsageError as error:
            shown = str(error)
        assert "Q7x" not in shown


def test_names_are_made_of_the_host_and_path() -> None:
    assert (
        Address.parse("rtsp://u:p@10.0.0.7/Streaming/Channels/101").default_name() == "10.0.0.7-Streaming-Channels-101"
    )


def test_an_empty_password_is_sent_as_one() -> None:
    assert Address.parse("rtsp://admin:@cam/a").url == "rtsp://admin:@cam:554/a"
    assert Address.parse("rtsp://admin@cam/a").url == "rtsp://admin:@cam:554/a"
    assert Address.parse("rtsp://:pin@cam/a").url == "rtsp://:pin@cam:554/a"


def test_a_file_of_this_host_is_a_file() -> None:
    assert Address.parse("file://localhost/data/yard.mp4").path == "/data/yard.mp4"


@pytest.mark.parametrize(
    ("text", "shown", "name"),
    [
        (
            "rtsp://ip/user=admin_password=Q7x_y_channel=1.sdp",
            "rtsp://ip:554/user=***_channel=1.sdp",
            "ip-channel-1.sdp",
        ),
        ("rtsp://ip/user=admin_password=Q7'x?y_channel=1", "rtsp://ip:554/user=***_channel=1", "ip-channel-1"),
        ("rtsp://ip/user=a&password=Q7x&channel=1", "rtsp://ip:554/user=***&password=***&channel=1", "ip-channel-1"),
        ("rtsp://ip/user=a_password=Q7x", "rtsp://ip:554/user=***", "ip"),
        ("rtmp://ip/live/Q7x?sign=Q7x/1", "rtmp://ip:1935/live/***", "ip-live"),
        ("rtmp://ip/live/Q7x/", "rtmp://ip:1935/live/***", "ip-live"),
        ("rtmp://ip/Q7x", "rtmp://ip:1935/***", "ip"),
        ("http://ip/v.cgi?loginuse=a&loginpas=Q7x", "http://ip:80/v.cgi?loginuse=***&loginpas=***", "ip-v.cgi"),
    ],
)
def test_a_password_in_the_path_is_neither_shown_nor_a_part_of_the_name(text: str, shown: str, name: str) -> None:
    address = Address.parse(text)
    assert (str(address), address.default_name()) == (shown, name)
    assert address.redact(f"cannot open {address.url}: refused") == f"cannot open {shown}: refused"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("front yard.mp4", "front-yard"),
        ("h\u00f6fe.mp4", "hofe"),
        ("_yard.mp4", "yard"),
        ("\u6771.mp4", "camera"),
        ("rtsp://[fe80::1%25eth0]/x", "fe80-1-25eth0-x"),
        ("rtsp://[::]/", "camera"),
        ("rtsp://cam/" + "a" * 200, "cam-" + "a" * 66),
    ],
)
def test_every_address_has_a_name_that_settings_take(text: str, name: str) -> None:
    address = Address.parse(text)
    assert address.default_name() == name
    CameraSettings(f"{name}-1000", address)


@given(st.text(max_size=120))
def test_whatever_a_file_is_called_its_camera_has_a_name(text: str) -> None:
    address = Address(Kind.FILE, "file", "", 0, text)
    CameraSettings(address.default_name() + "-2", address)
