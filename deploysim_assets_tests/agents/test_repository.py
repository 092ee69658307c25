"""The repository at its commit: what real programs print over a checkout, and nothing beyond the
tree."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.agents.command_lines import only_reads, parse
from deploysim_assets.agents.moment import Call, Example, Result, Uncleared
from deploysim_assets.agents.repository import LONGEST, Repository
from deploysim_assets.agents.trajectory import reads_of
from deploysim_assets.project import Agents
from deploysim_assets_tests.agents.turns import call, called, moment, prefix, result, tool

FILES = {
    "README.md": "# Demo\n\nA small thing.\nIt has a TODO here\n",
    "src/app.py": "import os\n\n\ndef main():\n    return os.getcwd()  # TODO later\n\n\nmain()\n",
    "src/util/text.py": "def up(text):\n    return text.upper()\n",
    "src/util/more.py": "x = 1\ny = 2\n",
    "docs/a b.txt": "one two\nthree\n" * 8,
    ".hidden": "secret\n",
    "empty.txt": "",
}
SETTINGS = Agents(repository_root="/srv/repo")
SHELL = tool("bash", None, command="string")


def git(folder: Path, *words: str) -> str:
    made = os.environ | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "LC_ALL": "C",
        **{
            f"GIT_{who}_{what}": v
            for who in ("AUTHOR", "COMMITTER")
            for what, v in (
                ("NAME", "Ann"),
                ("EMAIL", "ann@example.org"),
                ("DATE", "2026-03-04T05:06:07+0100"),
            )
        },
    }
    done = subprocess.run(
        ["git", *words], cwd=folder, env=made, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repo")
    git(folder, "init", "-q")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "link.md").symlink_to("README.md")
    (folder / "src/up").symlink_to("../docs")
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / "climb").symlink_to("../../../etc")
    (folder / "round").symlink_to("round")
    (folder / "data.bin").write_bytes(b"\0\1\2")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "First\n\nAll of it.")
    (folder / "src/util/more.py").write_text("x = 1\ny = 3\n")
    git(folder, "commit", "-qam", "Change y")
    return folder


def plain(text: str, of: Mapping[str, Any]) -> str:
    return text


def at_head(checkout: Path, **fields: Any) -> dict[str, Any]:
    commit = git(checkout, "rev-parse", "HEAD").strip()
    return prefix([SHELL], **({"commit": commit} | fields))


def look(checkout: Path, line: str, scrub: Any = plain, **fields: Any) -> Any:
    one = Repository(checkout, SETTINGS, scrub)
    return one.look(moment(at_head(checkout, **fields), call("bash", "a", command=line)))


PRINTED = r"""
cat README.md
cat -n README.md src/app.py
cat empty.txt
cat no/such.txt
cat link.md
cat src/up/'a b.txt'
cat src
cat ./src/../README.md
head -n 2 README.md
head -3 src/app.py
head src/util/text.py src/util/more.py
tail -n 2 README.md
tail -n +3 README.md
tail -c 5 README.md
head -c 7 README.md
wc -l README.md
wc README.md
wc README.md src/app.py
wc -w README.md
ls
ls -a
ls -A src
ls src docs
ls -R src
ls -F
ls -1 nowhere
ls README.md
grep -n TODO README.md
grep -rn TODO src
grep -rn TODO .
grep -i todo README.md src/app.py
grep -c TODO README.md src/app.py
grep -rl TODO
grep -v TODO README.md
grep -E 'os|text' src/app.py
grep 'os\|text' src/app.py
grep -F 'os.getcwd()' src/app.py
grep -w x src/util/more.py
grep -n -A 1 -B 1 main src/app.py
grep -rn --include='*.py' upper .
grep TODO nowhere.txt
grep -h TODO README.md src/app.py
grep -n 'def [a-z]*(' src/app.py
cat README.md | grep TODO
cat src/app.py | head -n 4 | wc -l
grep -rn TODO . | wc -l
git log
git log --oneline
git log -1
git log -n 1 --oneline
git show HEAD
git show HEAD~1:src/util/more.py
git show HEAD:no/such
git diff HEAD~1 HEAD
git diff HEAD~1..HEAD
git diff
git status --short
git status --porcelain
git diff --name-only HEAD~1
git show --name-status HEAD
cd src && ls
cd src/util && cat more.py | tail -1
""".strip().splitlines()


@pytest.mark.parametrize("line", PRINTED)
def test_it_prints_what_the_real_programs_print(checkout: Path, line: str) -> None:
    made = os.environ | {"LC_ALL": "C", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_PAGER": "cat"}
    real = subprocess.run(
        ["bash", "-c", f"({line}) 2>&1"],
        cwd=checkout, env=made, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = look(checkout, line)
    assert isinstance(found, Result), line
    if (
        "-r" in line and "grep" in line and "wc" not in line
    ):  # a file system has an order of its own
        assert sorted(found.content.splitlines()) == sorted(real.stdout.splitlines())
    else:
        assert found.content == real.stdout
    assert found.source == "repository"


@pytest.mark.parametrize(
    ("line", "real"),
    [
        ("find . -name '*.py'", "find . -name '*.py'"),
        ("find src -type d", "find src -type d"),
        ("find src -maxdepth 1 -type l", "find src -maxdepth 1 -type l"),
        ("find src -iname 'MORE*' -type f", "find src -iname 'MORE*' -type f"),
        ("find . -path './src/*'", "find . -path './src/*'"),
    ],
)
def test_find_lists_what_find_lists_in_whichever_order(
    checkout: Path, line: str, real: str
) -> None:
    done = subprocess.run(
        ["bash", "-c", real], cwd=checkout, capture_output=True, text=True, check=True
    )
    found = look(checkout, line)
    assert sorted(found.content.splitlines()) == sorted(
        path for path in done.stdout.splitlines() if ".git" not in path
    )


NOT_ANSWERED = r"""
cat /etc/passwd
cat ../../etc/passwd
cat passwd
ls climb
cat climb/passwd
cat src/../../x
ls ~
cat $HOME/.bashrc
cat `ls`
cat $(ls)
ls; rm -rf /
ls && rm x
ls || rm x
cat README.md > out
cat < README.md
ls &
rm README.md
cat *.md
cat README.m?
echo hi
bash -c ls
find . -delete
find . -exec rm {} +
find . -name x -fprint out
grep -f pattern README.md
grep -P 'a' README.md
git log --output=x
git show --output=x
git push
git diff --no-index /etc/passwd README.md
git log ../..
git -C / log
git --git-dir=/x log
git show origin/main
git log --all
cat data.bin
curl http://127.0.0.1
FOO=1 cat README.md
cat README.md | xargs rm
cat 'unclosed
|
cat |
cat -
cd / && ls
cd .. && ls
cat {README.md,x}
ls #x
tail -f README.md
head -n -3 README.md
git show HEAD:../../etc/passwd
git show HEAD:climb/passwd
""".strip().splitlines()


@pytest.mark.parametrize("line", [*NOT_ANSWERED, "cat README.md\nrm x", ""])
def test_what_is_not_a_simple_read_within_the_tree_is_not_answered(
    checkout: Path, line: str
) -> None:
    found = look(checkout, line)
    assert found == [], line


def test_a_loop_of_links_ends(checkout: Path) -> None:
    assert "No such file" in look(checkout, "cat round").content


def test_absolute_paths_are_those_where_the_agent_saw_the_repository(checkout: Path) -> None:
    assert look(checkout, "cat /srv/repo/src/util/text.py").content == FILES["src/util/text.py"]
    assert look(checkout, "cat /srv/repository/README.md") == []
    assert look(checkout, "cat /srv/repo/../../etc/passwd") == []


def test_an_earlier_commit_is_read_as_it_was_and_knows_nothing_later(checkout: Path) -> None:
    first = git(checkout, "rev-parse", "HEAD~1").strip()
    last = git(checkout, "rev-parse", "HEAD").strip()
    assert look(checkout, "cat src/util/more.py", commit=first).content == "x = 1\ny = 2\n"
    assert look(checkout, f"git show {last[:10]}", commit=first) == []
    assert look(checkout, f"git log --oneline {first[:8]}").content.count("\n") == 1
    assert look(checkout, "cat README.md", commit=None) == []
    assert look(checkout, "cat README.md", commit="../../etc") == []
    assert look(checkout, "cat README.md", commit="0" * 40) == []


def test_behind_a_write_the_commit_is_an_example(checkout: Path) -> None:
    of = at_head(checkout)
    one = Repository(checkout, SETTINGS, plain)
    wrote = [called(call("bash", "a", command="sed -i s/1/2/ src/util/more.py")), result("a", "")]
    again = one.look(moment(of, call("bash", "b", command="cat src/util/more.py"), *wrote))
    assert isinstance(again, list) and isinstance(again[0], Example)
    read = [called(call("bash", "a", command="cat README.md")), result("a", "x")]
    still = one.look(moment(of, call("bash", "b", command="cat src/util/more.py"), *read))
    assert isinstance(still, Result)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (call("read_file", "a", path="README.md"), FILES["README.md"]),
        (call("fs__read_file", "a", file_path="src/util/text.py"), FILES["src/util/text.py"]),
        (call("list_dir", "a", path="src/util"), "more.py\ntext.py\n"),
        (
            call("grep_search", "a", query="upper", path="src"),
            "src/util/text.py:2:    return text.upper()\n",
        ),
        (call("find_files", "a", pattern="text.*"), "./src/util/text.py\n"),
        (call("git_log", "a", max_count=1), None),
    ],
)  # fmt: skip
def test_tools_of_their_own_are_answered_as_commands(
    checkout: Path, what: dict[str, Any], said: str | None
) -> None:
    found = Repository(checkout, SETTINGS, plain).look(moment(at_head(checkout), what))
    assert isinstance(found, Result)
    assert said is None or found.content == said


def test_arguments_that_are_not_understood_are_not_answered(checkout: Path) -> None:
    one = Repository(checkout, SETTINGS, plain)
    for what in (
        call("read_file", "a", path="README.md", encoding="utf-16"),
        call("read_file", "a", path="-n"),
        call("delete_file", "a", path="README.md"),
        call("bash", "a", command="cat README.md", env={"A": "1"}),
        call("bash", "a", command=["bash", "-lc", "cat README.md; rm x"]),
        call("git_log", "a", max_count="1; rm"),
        call("git_show", "a", revision="--output=x"),
    ):
        assert one.look(moment(at_head(checkout), what)) == []


def test_every_answer_is_scrubbed_and_what_cannot_be_cleared_is_not_shown(checkout: Path) -> None:
    def scrub(text: str, of: Mapping[str, Any]) -> str:
        if "secret" in text:
            raise Uncleared
        return text.replace("ann@example.org", "zoe@example.org")

    assert "zoe@example.org" in look(checkout, "git log -1", scrub).content
    with pytest.raises(Uncleared):
        look(checkout, "cat .hidden", scrub)


def test_a_miss_by_a_name_that_looks_replaced_is_counted(checkout: Path) -> None:
    def scrub(text: str, of: Mapping[str, Any]) -> str:
        return text.replace("zoe", "kim")

    assert look(checkout, "cat zoe.txt", scrub).missed
    assert not look(checkout, "cat plain.txt", scrub).missed


def test_a_long_output_is_cut_and_says_so(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "long.txt").write_text("x" * 99 + "\n")
    (tmp_path / "huge.txt").write_text("a line of it\n" * 1_000_000)
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "x")
    assert len(look(tmp_path, "cat long.txt").content) == 100
    cut = " ".join(["cat"] + ["long.txt"] * 2_000)
    assert len(look(tmp_path, cut).content) < LONGEST + 100
    assert look(tmp_path, "cat huge.txt") == []
    assert look(tmp_path, "grep -c line huge.txt") == []


def test_the_working_files_of_a_plain_repository_are_not_read(
    checkout: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    git(checkout, "clone", "-q", "--bare", str(checkout), str(bare))
    commit = git(checkout, "rev-parse", "HEAD").strip()
    of = prefix([SHELL], commit=commit)
    for place in (bare, checkout):
        (checkout / "README.md").write_text("changed on disk\n")
        found = Repository(place, SETTINGS, plain).look(
            moment(of, call("bash", "a", command="cat README.md"))
        )
        assert isinstance(found, Result) and found.content == FILES["README.md"]


@given(st.text(alphabet="abc |&;<>$`'\"\\(){}*?[]!#~\n/.-", max_size=30))
def test_a_line_is_understood_wholly_or_not_at_all(line: str) -> None:
    found = parse(line)
    if found is None:
        return
    if not any(c in line for c in "'\"\\"):
        assert not set(";<>$`(){}*?[]!\n") & set(line.strip())
    assert all(found.pipe)


def test_a_shells_call_that_only_reads_is_no_write() -> None:
    reads = reads_of(Agents(), [tool("bash", None, command="string")])
    assert reads(Call("a", "bash", '{"command": "cat x | grep y"}'))
    assert not reads(Call("a", "bash", '{"command": "python run.py"}'))
    assert not reads(Call("a", "bash", '{"command": "cat x > y"}'))
    assert not only_reads(Call("a", "bash", '{"command": "find . -delete"}'))
    assert not only_reads(Call("a", "bash", '{"command": "git log --output=x"}'))
    assert not reads_of(Agents(), [tool("bash", False)])(Call("a", "bash", '{"command": "ls"}'))
