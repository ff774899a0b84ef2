"""Laws of a site's file: whatever it holds, a site or an error with its place; what is written is read as it was."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from watchline.pipeline.site.document import decode
from watchline.pipeline.site.dumping import dump, show, yaml_text
from watchline.pipeline.site.kept import Retention
from watchline.pipeline.site.loading import parse_site
from watchline.pipeline.site.problems import SiteError
from watchline.pipeline.site.site import Camera, Http, Ingest, Model, Site, Storage, Tracker
from watchline.pipeline.site.values import bytes_of, written_size
from watchline.streams.camera_settings import Backend, Transport

EXAMPLE = (Path(__file__).resolve().parent.parent.parent / "pipeline" / "site" / "example.yaml").read_bytes()
CANARY = "hunter22canary"
TROUBLE = [
    *b"\t \x00 [ ] { } &a *a !t ' \" ? | > # \\ ${ ${file: } 1e999 99999999999999999999 .nan null true".split(b" "),
    *(
        b"<<: ",
        b": ",
        b"- ",
        b"\n",
        b"  ",
        b"---\n",
        b"...\n",
        b"%YAML 1.2\n",
        b"\xe2\x80\xa8",
        b"\xef\xbb\xbf",
        b"\xff",
    ),
    *(b"http: {listen: 0.0.0.0:1}\n", b"[" * 100, b"a: " * 3),
]


def outcome(content: bytes) -> Site | SiteError:
    """Reads it; nothing else may be raised, within a bounded time, and an error has its place."""
    begun_s = time.process_time()
    try:
        return parse_site(decode(content, "site.yaml"), "site.yaml", Path("/x"))
    except SiteError as error:
        for line, problem in zip(str(error).splitlines(), error.problems, strict=False):
            assert line.startswith(f"site.yaml:{problem.place.line}:{problem.place.column}: ") or " more" in line
            assert (
                1 <= problem.place.line <= content.count(b"\n") + content.count(b"\r") + content.count(b"\xe2\x80") + 3
            )
            assert line.isprintable()
        return error
    finally:
        assert time.process_time() - begun_s < 10


def mutated(rng: random.Random) -> bytes:
    content = bytearray(EXAMPLE)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content))
        kind = rng.randrange(5)
        if kind == 0:
            content[at] = rng.randrange(256)
        elif kind == 1:
            del content[at : at + rng.randint(1, 40)]
        elif kind == 2:
            content[at:at] = rng.choice(TROUBLE)
        elif kind == 3:
            lines = content.split(b"\n")
            rng.shuffle(lines) if rng.random() < 0.1 else lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            content = bytearray(b"\n".join(lines))
        else:
            other = rng.randrange(len(content))
            content[at:at] = content[other : other + rng.randint(1, 60)]
    return bytes(content)


def test_two_hundred_spoilt_examples_each_give_a_site_or_an_error_with_its_place() -> None:
    refused = sum(isinstance(outcome(mutated(random.Random(seed))), SiteError) for seed in range(200))
    assert refused > 100


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_site_or_an_error_with_its_place(content: bytes) -> None:
    assert isinstance(outcome(content), SiteError)


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("ab:-[]{}'\"\n \t#&*!|>%@,?~0159.eE_\\x${}/"), max_size=120))
def test_any_signs_of_yaml_give_a_site_or_an_error_with_its_place(text: str) -> None:
    outcome(text.encode())
    outcome(f"cameras:\n  - id: a\n    url: x\n    {text}\n".encode())


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(sorted({*Site.model_fields, *Camera.model_fields, *Http.model_fields, *Model.model_fields}))


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(keys, data, max_size=4), st.sampled_from(["", "cameras", "defaults", "models", "http", "ingest"])
)
def test_any_values_at_known_keys_give_a_site_or_an_error_with_its_place(
    values: dict[str, object], within: str
) -> None:
    part: object = {"cameras": [values], "models": {"p": values}}.get(within, values)
    try:
        text = json.dumps({within: part} if within else values, allow_nan=False)
    except ValueError:
        return
    outcome(text.encode())


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1))
def test_no_secret_of_the_file_is_in_what_is_told(seed: int) -> None:
    rng = random.Random(seed)
    address = f"rtsp://admin:{CANARY}@10.0.0.8/stream1".encode()
    lines = EXAMPLE.replace(b"rtsp://10.0.0.8/stream1", address).split(b"\n")
    for _ in range(rng.randint(1, 3)):  # the address slips to another key, with or without its quotes
        index = rng.randrange(len(lines))
        key = lines[index].partition(b":")[0]
        lines[index] = key + rng.choice([b": ", b": '", b': "', b":", b": [", b": {", b": &", b": !", b": *"]) + address
    found = outcome(b"\n".join(lines))
    if isinstance(found, SiteError):
        assert CANARY not in str(found)
    else:
        assert CANARY not in f"{found!r}{show(found)}"


words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cn")), min_size=1, max_size=20)
tricky = st.sampled_from(
    ["no", "on", "007", "1e3", "12:30", "~", "null", "0x1F", ".5", "a: b", "- a", "#", "'", '"', "true", " ", "=", "<<"]
)
names = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z._-]{0,20}", fullmatch=True)
sizes = st.integers(1 << 20, 1 << 50)


@st.composite
def cameras(draw: st.DrawFn, name: str) -> Camera:
    left, top = draw(st.floats(0, 0.4)), draw(st.floats(0, 0.4))
    region = ((left, top), (left + 0.5, top), (left + 0.5, top + 0.5))
    return Camera(
        id=name,
        url=draw(st.sampled_from(["rtsp://a:${PW}@cam/1", "/x/yard.mp4", "rtsp://u:p%40@[::1]:8554/x?a=b&c"])),
        backend=draw(st.sampled_from(Backend)),
        transport=draw(st.sampled_from(Transport)),
        fps=draw(st.just(0.0) | st.floats(0.2, 240)),
        weight=draw(st.floats(0.1, 10)),
        model="p",
        classes=tuple(draw(st.lists(words | tricky, max_size=3))),
        ignore=draw(st.sampled_from([(), (region,)])),
        tracker=Tracker(settings=draw(st.sampled_from([{}, {"coast_s": 0.5}, {"coast_s": 1, "fuse_score": True}]))),
        frozen_after_s=draw(st.sampled_from([0.0, 0.5, 86400.0])),
        tls_authorities=draw(st.sampled_from([None, Path("/x/ca.pem")])),
        pipeline=draw(words | tricky | st.just("")),
    )


@st.composite
def sites(draw: st.DrawFn) -> Site:
    ids = draw(st.lists(names | st.sampled_from(["no", "007", "1e3"]), min_size=1, max_size=3, unique=True))
    return Site(
        site=draw(names),
        cameras=tuple(draw(cameras(name)) for name in ids),
        models={"p": Model(conf=draw(st.floats(0, 1)), family=draw(words | tricky)), draw(names): Model()},
        ingest=Ingest(memory=draw(st.none() | sizes), allow_custom_pipelines=True),
        storage=Storage(path=Path("/x") / draw(names)),
        retention=Retention(tracks_size=draw(sizes), tracks_days=draw(st.floats(0.01, 3650))),
        http=Http(listen="0.0.0.0:80", token_file=Path("/x/t"), behind_proxy=True),
    )


@settings(deadline=None, max_examples=100)
@given(sites())
def test_a_site_that_is_written_is_read_as_the_same(site: Site) -> None:
    assert parse_site(dump(site), "site.yaml", Path("/x")) == site
    shown = parse_site(show(site), "site.yaml", Path("/x"))  # what people see is a site, too
    assert [camera.id for camera in shown.cameras] == [camera.id for camera in site.cameras]


@settings(deadline=None)
@given(words | tricky)
def test_any_text_is_text_again(text: str) -> None:
    line = f"cameras:\n  - id: a\n    url: x\n    classes:\n      - {yaml_text(text)}\nmodels: {{p: {{}}}}\n"
    if "://" not in text:
        assert parse_site(line, "f", Path("/x")).cameras[0].classes == (text,)


@given(st.integers(0, 1 << 50))
def test_a_size_is_written_exactly(size: int) -> None:
    assert bytes_of(written_size(size)) == size
