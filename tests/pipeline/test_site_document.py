"""YAML as a site's file may use it: places, bounds, and what is refused."""

from __future__ import annotations

import time

import pytest

from watchline.pipeline.site.document import decode, plain_value, read_document
from watchline.pipeline.site.problems import Place, SiteError


def refusal(text: str) -> str:
    with pytest.raises(SiteError) as caught:
        read_document(text, "site.yaml")
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_each_key_and_item_has_its_place() -> None:
    document = read_document("a:\n  - b: 1\n    c: [x, {d: 2}]\n", "site.yaml")
    assert document.data == {"a": [{"b": 1, "c": ["x", {"d": 2}]}]}
    assert document.place(("a",)) == Place(1, 1)
    assert document.place(("a", 0)) == Place(2, 5)
    assert document.place(("a", 0, "c")) == Place(3, 5)
    assert document.place(("a", 0, "c", 1, "d")) == Place(3, 13)
    assert document.place(("a", 0, "nowhere", 7)) == Place(2, 5)  # the nearest around it


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &x 1\nb: 2\n", "site.yaml:1:4: a: & and * (anchors"),
        ("a: [1, *x]\n", "site.yaml:1:8: a[1]: & and * (anchors"),
        ("a: !!python/object/apply:os.system ['true']\n", "site.yaml:1:4: a: ! (a tag)"),
        ("a: !!str 7\n", "site.yaml:1:4: a: ! (a tag)"),
        ("<<: {a: 1}\n", "site.yaml:1:1: << (a merge key)"),
        ("a: 1\nb: 2\na: 3\n", "site.yaml:3:1: a: the same key as in line 1"),
        ("? [a]\n: 1\n", "site.yaml:1:3: a map or list as a key"),
        ("7: x\n", "site.yaml:1:1: a key must be text"),
        ("a: 1\n---\nb: 2\n", "site.yaml:2:1: a second document"),
        ("a:\n\t- b\n", "site.yaml:2:1: a tab"),
        ("a: b: c\n", "site.yaml:1:5: a colon where no key can stand"),
        ("a: [1, 2\nb: 3\n", "site.yaml:2:2: a bracket is not closed"),
        ("a: 'b\n", "site.yaml:2:1: a quote is not closed"),
        ("a: @b\n", "site.yaml:1:4: text that begins with such a sign"),
        ("ab: \x00", "site.yaml:1:5: a control character"),
        ('a: "\\ud800"\n', "site.yaml:1:4: a: an escape that is no letter"),
        ('a: "\\UFFFFFFFF"\n', "not proper YAML"),
    ],
)
def test_what_is_refused_is_named_with_its_place(text: str, told: str) -> None:
    assert told in refusal(text)


@pytest.mark.parametrize(
    "word", ["yes", "No", "ON", "off", "007", "1e3", "0x1F", "0o17", "1_000", "12:30", ".inf", ".nan"]
)
def test_words_that_readers_disagree_about_must_be_quoted(word: str) -> None:
    assert "quote it" in refusal(f"id: {word}\n")
    assert "quote it" in refusal(f"{word}: 1\n")
    assert read_document(f'id: "{word}"\n', "site.yaml").data == {"id": word}


def test_all_disputed_words_and_double_keys_are_told_at_once() -> None:
    assert refusal("a: yes\nb: 007\nb: 1\nc: 12:30\n").count("\n") == 3


def test_plain_values_are_what_they_look_like() -> None:
    given = [
        "5",
        "-3",
        "0",
        "0.25",
        "1.0e-05",
        ".5",
        "true",
        "False",
        "~",
        "",
        "null",
        "10GiB",
        "127.0.0.1:8770",
        "y",
        "a b",
    ]
    values = [5, -3, 0, 0.25, 1e-05, 0.5, True, False, None, None, None, "10GiB", "127.0.0.1:8770", "y", "a b"]
    assert [plain_value(text) for text in given] == values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 3000, "more than 32 deep"),
        ("".join(" " * depth + "a:\n" for depth in range(1000)), "more than 32 deep"),
        ("- " * 3000, "more than 32 deep"),
        ("[" + "1," * 200_000 + "]", "more than 100000 values"),
        ("a: '" + "x" * (1 << 20) + "'", "more than 1 MiB"),
        ("".join(f"a{i}: &a{i} [{f'*a{i - 1},' * 9}]\n" for i in range(9)), "anchors and aliases"),
    ],
)
def test_giant_deep_and_exploding_files_are_refused_at_once(text: str, told: str) -> None:
    begun_s = time.process_time()
    assert told in refusal(text)
    assert time.process_time() - begun_s < 10


def test_thirty_two_levels_are_enough_for_anybody() -> None:
    assert read_document("[" * 32 + "]" * 32, "site.yaml").data


def test_a_file_that_is_no_utf8_is_refused_with_the_place() -> None:
    with pytest.raises(SiteError, match=r"site.yaml:2:4: this is not UTF-8"):
        decode("a: 1\nb: \xe4".encode("latin-1"), "site.yaml")
    assert decode(b"\xef\xbb\xbfa: 1", "site.yaml") == "a: 1"


def test_a_secret_in_a_broken_line_is_not_shown() -> None:
    for text in (
        "url: rtsp://admin:hunter22: x@cam\n",
        "rtsp://admin:hunter22@cam: 1\nrtsp://admin:hunter22@cam: 2\n",
        "url: *hunter22\n",
        "url: !hunter22 x\n",
        'url: "rtsp://admin:\\hunter22@cam"\n',
        "url: @hunter22\n",
    ):
        assert "hunter22" not in refusal(text)
