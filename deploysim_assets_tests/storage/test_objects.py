"""Objects mean the same in a folder, in obstore's memory and on an S3 server."""

import contextlib
import hashlib
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploysim_assets.project import ProjectError
from deploysim_assets.storage.buckets import Bucket, objects_at
from deploysim_assets.storage.folders import Folder
from deploysim_assets.storage.objects import (
    BLOCK,
    Changed,
    Found,
    Objects,
    StoreError,
    blocks_of,
    sha256_of,
)
from deploysim_assets_tests.s3 import S3, served

Make = Callable[[], Objects]
"""Gives an empty place."""


@pytest.fixture(scope="module")
def s3() -> Generator[S3]:
    with served(retries=4) as server:
        yield server


@pytest.fixture(params=["folder", "memory", "s3"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "folder":
        return lambda: Folder(tmp_path / uuid.uuid4().hex)
    if request.param == "memory":
        memory = pytest.importorskip("obstore.store", reason="needs pip install 'deploysim[dev]'")
        return lambda: Bucket("memory:", memory.MemoryStore())
    server: S3 = request.getfixturevalue("s3")
    return lambda: objects_at(server.url(uuid.uuid4().hex))


_ODD = [
    "model_version=gpt:4", "a b", "100%", "%20", "q?x=1#y", "é漢", "\udcff", "new\nline",
    "back\\slash", "~", "[x]{y}*|^`\"'<>", "..a", "tr.", "+&;@,", "-",
]  # fmt: skip
_NAMES = st.builds(
    lambda folder, parts: f"{folder}/{''.join(parts)}",
    st.sampled_from(["f", "f=1 x"]),
    st.lists(st.sampled_from(_ODD), min_size=1, max_size=3),
)
_ACTS = st.tuples(
    st.sampled_from(["create", "swap", "swap of before", "send", "delete"]),
    st.integers(0, 2),
    st.binary(max_size=9),
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(_NAMES, min_size=3, max_size=3, unique=True),
    acts=st.lists(_ACTS, max_size=8),
)
def test_every_place_holds_what_a_dictionary_would(
    make: Make, names: list[str], acts: list[tuple[str, int, bytes]]
) -> None:
    objects, model = make(), dict[str, bytes]()
    before = {}
    for act, which, content in acts:
        name = names[which]
        if act == "create":
            if name in model:
                with pytest.raises(FileExistsError):
                    objects.create(name, content)
            else:
                objects.create(name, content)
                model[name] = content
        elif act == "send":
            objects.send(name, [content[:4], content[4:]])
            model[name] = content
        elif act == "delete":
            objects.delete(name)
            model.pop(name, None)
        elif act == "swap" and name in model:
            objects.swap(name, content, objects.get(name).state)
            model[name] = content
        elif name in before and before[name].content != model.get(name):
            with pytest.raises(Changed):
                objects.swap(name, content, before[name].state)
        if name in model:
            before[name] = objects.get(name)
    assert objects.list() == sorted(Found(name, len(held)) for name, held in model.items())
    for name in names:
        if name not in model:
            with pytest.raises(FileNotFoundError):
                objects.get(name)
            with pytest.raises(FileNotFoundError):
                objects.size(name)
            continue
        assert objects.get(name).content == b"".join(blocks_of(objects, name)) == model[name]
        assert sha256_of(objects, name) == hashlib.sha256(model[name]).hexdigest()
        for start in range(len(model[name])):
            assert objects.get_range(name, start, 4) == model[name][start : start + 4]
        with pytest.raises(StoreError):
            objects.get_range(name, len(model[name]), 1)
    assert {f.name for f in objects.list("f")} == {name for name in model if name.startswith("f/")}


def test_of_writers_at_once_exactly_one_creates_and_one_swaps(make: Make) -> None:
    objects = make()

    def creates(number: int) -> bool:
        try:
            objects.create("record", b"%d" % number)
        except FileExistsError:
            return False
        return True

    def adds(_: int) -> None:
        while True:
            held = objects.get("count")
            try:
                objects.swap("count", b"%d" % (int(held.content) + 1), held.state)
            except Changed:
                continue
            return

    objects.create("count", b"0")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            objects.delete("record")
            won = list(pool.map(creates, range(4)))
            assert won.count(True) == 1
            assert objects.get("record").content == b"%d" % won.index(True)
        list(pool.map(adds, range(12)))
    assert objects.get("count").content == b"12"


def test_what_comes_in_many_blocks_is_whole_or_not_there(make: Make) -> None:
    objects = make()
    block = bytes(range(256)) * 4096 * 3
    total = 2 * BLOCK // len(block) + 1
    objects.send("large", (block for _ in range(total)))
    assert objects.size("large") == total * len(block)
    assert sha256_of(objects, "large") == hashlib.sha256(block * total).hexdigest()

    def breaks(after: int) -> Generator[bytes]:
        yield from (block for _ in range(after))
        raise ProjectError("was changed while it was read")

    for after in (0, total):
        with pytest.raises(ProjectError, match="was changed"):
            objects.send("broken", breaks(after))
        with pytest.raises(ProjectError, match="was changed"):
            objects.send("large", breaks(after))
    assert objects.list() == [Found("large", total * len(block))]


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "../a", "a/../../b", "a/./b", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(make: Make, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "a"
    outside.write_text("not yours")
    objects = make()
    for act in (objects.get, objects.size, objects.delete):
        with pytest.raises(ProjectError, match="not a name"):
            act(name)
    with pytest.raises(ProjectError, match="not a name"):
        objects.send(name, [b"mine"])
    assert outside.read_text() == "not yours"


def test_a_listing_of_more_than_a_page_is_whole(s3: S3) -> None:
    objects = objects_at(s3.url("many"))
    names = [f"x/{i:05}" for i in range(2105)]
    s3.hold(f"many/{name}" for name in names)
    before = len(s3.requests)
    assert [f.name for f in objects.list("x")] == names
    assert len(s3.requests) - before == 3
    assert objects.list("x/0000") == []


@pytest.mark.parametrize("fault", ["500", "503", "done, then 500", "done, then nothing"])
def test_a_put_whose_answer_was_lost_counts_once(s3: S3, fault: str) -> None:
    """The server does it and fails to say so: the writer still knows that it was it."""
    objects = objects_at(s3.url(f"lost/{fault.replace(' ', '')}"))
    objects.create("swapped", b"0")
    state = objects.get("swapped").state
    faults = [fault, fault]
    s3.fault = lambda method, _: faults.pop() if method == "PUT" and faults else None
    objects.create("created", b"mine")
    faults[:] = [fault, fault]
    objects.swap("swapped", b"1", state)
    s3.fault = lambda _method, _path: None
    assert objects.get("created").content == b"mine"
    assert objects.get("swapped").content == b"1"
    with pytest.raises(FileExistsError):
        objects.create("created", b"mine")
    with pytest.raises(Changed):
        objects.swap("swapped", b"2", state)


def test_a_server_that_only_fails_is_named_and_nothing_is_believed(s3: S3) -> None:
    objects = objects_at(s3.url("down"))
    objects.create("there", b"x")
    s3.fault = lambda _method, _path: "500"
    for act in (
        lambda: objects.create("new", b"x"), lambda: objects.list(), lambda: objects.get("there"),
        lambda: objects.send("there", [b"y"]), lambda: objects.size("there"),
    ):  # fmt: skip
        with pytest.raises(StoreError, match=r"s3://bucket-of-tests/down") as wrong:
            act()
        assert "secret-of-tests" not in str(wrong.value)
        assert "\n" not in str(wrong.value)
    s3.fault = lambda _method, _path: None
    assert objects.list() == [Found("there", 1)]


def test_a_body_that_breaks_off_is_read_again_or_refused(s3: S3) -> None:
    objects = objects_at(s3.url("cut"))
    objects.create("x", b"0123456789" * 1000)
    faults = ["cut"]
    s3.fault = lambda method, _: faults.pop() if method == "GET" and faults else None
    with contextlib.suppress(StoreError):
        assert objects.get("x").content == b"0123456789" * 1000
    assert not faults
    s3.fault = lambda _method, _path: "cut"
    with pytest.raises(StoreError):
        objects.get("x")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/x", "s3://, gs://, az://"),
        ("s3:/bucket/x", "names no bucket"),
        ("s3://key:hidden@bucket/x", "environment alone"),
        ("s3://bucket/x?X-Amz-Signature=hidden", "environment alone"),
    ],
)
def test_a_place_that_is_no_bucket_is_refused_without_what_is_secret(url: str, says: str) -> None:
    with pytest.raises(ProjectError, match=says) as wrong:
        objects_at(url)
    assert "hidden" not in str(wrong.value)


def test_a_bucket_that_is_not_there_is_no_empty_one(s3: S3) -> None:
    objects = objects_at("s3://no-such-bucket/x")
    for act in (objects.list, lambda: objects.send("a", [b""]), lambda: objects.create("a", b"")):
        with pytest.raises(StoreError, match="see that the bucket is there"):
            act()
