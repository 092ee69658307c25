"""A home copied to a folder or a bucket and back: whole or visibly not, nothing lost, nothing sent
twice, never over another home."""

import json
import shutil
import uuid
from collections.abc import Callable, Generator
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from deploysim_assets.cli.commands import main
from deploysim_assets.deidentify.keys import load_keys
from deploysim_assets.evidence.copies import vouched
from deploysim_assets.project import ProjectError, SealError
from deploysim_assets.project.file import load_project
from deploysim_assets.storage import ledger
from deploysim_assets.storage.buckets import Bucket, objects_at
from deploysim_assets.storage.copying import Copied, copy_home
from deploysim_assets.storage.folders import Folder
from deploysim_assets.storage.locks import adding, asking
from deploysim_assets.storage.objects import StoreError
from deploysim_assets.storage.tables import Lake
from deploysim_assets_tests.s3 import S3, served
from deploysim_assets_tests.support import least_project

KEYS = "deploysim.keys.json"
Place = Callable[[], str]


@pytest.fixture(scope="module")
def s3() -> Generator[S3]:
    with served(retries=2) as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Names empty places."""
    if request.param == "folder":
        return lambda: str(tmp_path / "copies" / uuid.uuid4().hex)
    server: S3 = request.getfixturevalue("s3")
    return lambda: server.url(uuid.uuid4().hex)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    least_project(home)
    (home / "l").mkdir()
    (home / "l" / "été 100%.jsonl").write_text("{}\n")
    (home / "l" / "\udcff.jsonl").write_text("")
    (home / KEYS).write_text("secret")
    (home / ".env").write_text("secret")
    (home / "journal" / "grades").mkdir(parents=True)
    journal = home / "journal" / "grades" / "m.jsonl"
    journal.touch(0o600)
    journal.write_text("an answer, and a torn")
    write(home, 1)
    return home


def write(home: Path, number: int) -> None:
    """One more version of each of two tables, one of them sealed."""
    lake = Lake.of(home)
    lake.write("raw_logs", "m", pl.DataFrame({"n": [number]}))
    lake.write(
        "rate_estimates", "m", pl.DataFrame({"n": [number]}),
        seal=lambda made: ledger.append(home, "forecast", "m", {"n": number}, made.seals),
    )  # fmt: skip


def copied(source: object, target: object) -> Copied:
    return copy_home(str(source), str(target), vouched, (KEYS,), lambda _: None)


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a copy with its permissions, without what belongs to the place."""
    return {
        name: ((folder / name).read_bytes(), (folder / name).stat().st_mode)
        for name, _ in Folder(folder).list()
        if not name.startswith(("locks/", ".")) and name not in ("copy.json", KEYS)
    }


def test_a_home_comes_back_as_it_was(home: Path, place: Place, tmp_path: Path) -> None:
    there, back = place(), tmp_path / "back"
    first = copied(home, there)
    assert first.left_out == [".env", KEYS]
    assert first.head == ledger.head(home)
    names = [found.name for found in objects_at(there).list()]
    assert not any("secret" in objects_at(there).get(n).content.decode("latin-1") for n in names)
    before = content(home)
    shutil.rmtree(home)
    second = copied(there, back)
    assert (second.sent, second.there) == (len(before), 0)
    assert content(back) == before
    assert (back / "lake" / "raw_logs").stat().st_mode & 0o777 == 0o700
    assert Lake.of(back).scan("rate_estimates", "m").collect().rows() == [(1,)]
    load_project(back)
    write(back, 2)
    assert ledger.head(back).records == 2


def test_a_copy_is_brought_up_to_date(home: Path, place: Place) -> None:
    there = place()
    first = copied(home, there)
    again = copied(home, there)
    assert (again.sent, again.there, again.gone) == (0, first.sent, 0)
    write(home, 2)
    gone = home / "l" / "été 100%.jsonl"
    gone.unlink()
    later = copied(home, there)
    assert later.gone == 1
    assert later.there > 0
    lying = {n for n, _ in objects_at(there).list() if not n.startswith("locks/")}
    assert lying == {*content(home), "copy.json"}


def test_killed_at_any_request_it_goes_on_and_sends_nothing_twice(
    home: Path, s3: S3, tmp_path: Path
) -> None:
    there = s3.url(uuid.uuid4().hex)
    total = copied(home, s3.url(uuid.uuid4().hex)).sent
    for stop_at in range(0, total, 5):
        puts = 0

        def fault(method: str, _: str, stop_at: int = stop_at) -> str | None:
            nonlocal puts
            puts += method == "PUT"
            return "500" if method == "PUT" and puts > stop_at else None

        s3.fault = fault
        with pytest.raises(StoreError):
            copied(home, there)
        s3.fault = lambda _method, _path: None
        with pytest.raises(ProjectError, match="not whole|holds no copy"):
            copied(there, tmp_path / "back")
    lying = {f.name for f in objects_at(there).list()} - {"copy.json"}
    assert lying
    s3.requests.clear()
    done = copied(home, there)
    assert done.there == len(lying)
    assert sum(m == "PUT" for m, _ in s3.requests) == total - len(lying) + 2


def test_a_folder_that_is_no_whole_copy_is_not_worked_in(home: Path, s3: S3) -> None:
    there = s3.url(uuid.uuid4().hex)
    copied(home, there)
    back = home.parent / "back"
    s3.fault = lambda method, path: "500" if "part-0" in path else None
    with pytest.raises(StoreError):
        copied(there, back)
    with pytest.raises(ProjectError, match="begun and is not whole"):
        load_project(back)
    s3.fault = lambda _method, _path: None
    copied(there, back)
    assert content(back) == content(home)
    load_project(back)


@pytest.mark.parametrize("fault", ["flipped", "cut"])
def test_what_a_bucket_gives_back_otherwise_is_noticed(
    home: Path, s3: S3, fault: str, tmp_path: Path
) -> None:
    there = s3.url(uuid.uuid4().hex)
    copied(home, there)
    s3.fault = lambda method, path: fault if method == "GET" and "part-0" in path else None
    with pytest.raises(ProjectError):
        copied(there, tmp_path / "back")
    with pytest.raises(ProjectError):
        copied(home, s3.url(uuid.uuid4().hex))


def test_a_copy_of_another_home_or_of_a_later_state_is_not_written_over(
    home: Path, place: Place, tmp_path: Path
) -> None:
    there, other = place(), tmp_path / "other"
    copied(home, there)
    copied(home, other)
    write(other, 3)
    write(home, 4)
    second = place()
    copied(home, second)
    for source, target, why in (
        (other, second, "another home, or of a later"),
        (there, second, "another home, or of a later"),
        (home, other, "was changed since it was copied"),
    ):
        objects = objects_at(str(target))
        before = objects.list(), objects.get("copy.json").content
        with pytest.raises(ProjectError, match=why):
            copied(source, target)
        assert (objects.list(), objects.get("copy.json").content) == before


def test_what_is_no_copy_is_not_written_over(home: Path, place: Place) -> None:
    there = place()
    objects_at(there).create("theirs.txt", b"x")
    with pytest.raises(ProjectError, match="no copy of a home"):
        copied(home, there)
    objects_at(there).create("copy.json", b"{}")
    with pytest.raises(ProjectError, match="not an inventory"):
        copied(home, there)
    for inside in (home, home / "copy", home.parent):
        with pytest.raises(ProjectError, match="lies in what is copied"):
            copied(home, inside)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize("change", [_cut, _flip, Path.unlink])
@pytest.mark.parametrize(
    "which", ["ledger/*.json", "lake/rate_*/**/part*", "lake/rate_*/**/_MAN*", "lake/raw*/**/_ST*"]
)
def test_a_home_that_does_not_hold_replaces_no_copy(
    home: Path, tmp_path: Path, which: str, change: Callable[[Path], object]
) -> None:
    there = tmp_path / "there"
    copied(home, there)
    write(home, 2)
    was = (there / "deploysim.yaml").stat().st_mtime_ns
    change(min(home.glob(which)))
    with pytest.raises(SealError):
        copied(home, there)
    assert (there / "deploysim.yaml").stat().st_mtime_ns == was
    shutil.rmtree(home)
    load_project(there)
    write(there, 2)


def test_what_is_damaged_while_it_is_copied_leaves_a_copy_that_says_so(home: Path, s3: S3) -> None:
    there = s3.url(uuid.uuid4().hex)

    def fault(method: str, path: str) -> None:
        if method == "PUT" and "copy.json" in path:
            _flip(min(home.glob("lake/raw*/**/part*")))

    s3.fault = fault
    with pytest.raises(SealError, match="the copy begun at .* is not whole"):
        copied(home, there)


def test_a_restored_home_makes_no_keys_in_place_of_those_kept_apart(
    home: Path, tmp_path: Path
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    copied(home, there)
    (home / KEYS).unlink()
    for source in (there, home):  # a home that never had a key file may have one made
        shutil.rmtree(back, ignore_errors=True)
        copied(source, back)
        if source is home:
            break
        copied(back, tmp_path / "again")
        for restored in (back, tmp_path / "again"):
            with pytest.raises(ProjectError, match="kept apart"):
                load_keys(restored, may_create=True)
            assert not (restored / KEYS).exists()
    assert load_keys(back, may_create=True) == load_keys(back, may_create=False)


def test_nothing_is_copied_while_answers_come(home: Path, tmp_path: Path) -> None:
    with asking(home), pytest.raises(ProjectError, match="a run is asking"):
        copied(home, tmp_path / "there")
    with adding(tmp_path / "other"):  # another home's is no hindrance
        copied(home, tmp_path / "there")


def test_a_version_that_is_being_written_and_links_are_no_part(home: Path, tmp_path: Path) -> None:
    (home / "elsewhere").symlink_to(tmp_path)
    with Lake.of(home).new_version("raw_logs", "m", {"n": pl.Int64}) as version:
        version.extend(pl.DataFrame({"n": range(9)}))
        done = copied(home, tmp_path / "there")
    assert "elsewhere" in done.left_out
    assert len(list((tmp_path / "there" / "lake" / "raw_logs").rglob("run=*"))) == 1
    (home / "journal").rename(tmp_path / "journal")
    (home / "journal").symlink_to(tmp_path / "journal")
    with pytest.raises(ProjectError, match="a link to a folder"):
        copied(home, tmp_path / "again")


def test_of_two_copies_at_once_one_says_so(home: Path, s3: S3) -> None:
    there, begun = s3.url(uuid.uuid4().hex), []

    def fault(method: str, path: str) -> None:
        if method == "PUT" and "deploysim.yaml" in path and not begun:
            begun.append(True)
            held = objects_at(there).get("copy.json")
            other = json.dumps(json.loads(held.content) | {"nonce": "other"}).encode()
            objects_at(there).swap("copy.json", other, held.state)

    s3.fault = fault
    with pytest.raises(ProjectError, match="another copy to it began"):
        copied(home, there)
    s3.fault = lambda _method, _path: None
    copied(home, there)


def test_an_inventory_cannot_write_outside_its_folder(home: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    copied(home, there)
    said = json.loads((there / "copy.json").read_bytes())
    bucket = tmp_path / "b"
    for hostile in (
        {"private": {"../out": 448}},
        {"files": {"../out": [1, 420, ""]}},
        {"files": {".env": [1, 420, ""]}},
        {"files": {KEYS: [1, 420, ""]}},
        {"files": {"a": []}},
    ):
        memory = pytest.importorskip("obstore.store", reason="needs pip install 'deploysim[dev]'")
        store = Bucket("memory:", memory.MemoryStore())
        for name, _ in Folder(there).list():
            store.send(name, [(there / name).read_bytes()])
        changed = said | {k: said[k] | v for k, v in hostile.items()}
        store.send("copy.json", [json.dumps(changed).encode()])
        with pytest.MonkeyPatch.context() as patch, pytest.raises(ProjectError):
            patch.setattr(
                "deploysim_assets.storage.copying.objects_at",
                lambda place, store=store: store if place == "memory:" else Folder(Path(place)),
            )
            copied("memory:", bucket)
        assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProjectError, match="run the same again"):
        copied(home, tmp_path / "file" / "there")
    with pytest.raises(ProjectError, match="not a home"):
        copied(tmp_path / "nowhere", tmp_path / "there")
    assert not (tmp_path / "nowhere").exists()


def test_the_command_says_what_came_to_pass(home: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["home", "copy", str(home), str(tmp_path / "there")])
    assert done.exit_code == 0, done.output
    assert "a whole copy: " in done.output
    assert ledger.head(home).hash in done.output
    assert f"keep {KEYS} apart" in done.output
