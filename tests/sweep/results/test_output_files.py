"""What a command writes is there whole or not at all, and replaces nothing unasked."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.results.output_files import write_files


def test_when_one_file_cannot_be_written_none_is(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / ("n" * 300)

    with pytest.raises(ConfigurationError, match="n: cannot be written: File name too long"):
        write_files({first: b"1", second: b"2"}, force=False)

    assert list(tmp_path.iterdir()) == []


def test_a_device_or_a_folder_is_not_replaced_even_by_force(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    for path in (pipe, tmp_path):
        with pytest.raises(ConfigurationError, match="is not a regular file"):
            write_files({path: b"1"}, force=True)

    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_link_still_leads_to_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    link, target = tmp_path / "link", tmp_path / "scratch" / "file"
    link.symlink_to(target)

    write_files({link: b"1"}, force=False)
    with pytest.raises(ConfigurationError, match="link: already exists"):
        write_files({link: b"2"}, force=False)
    write_files({link: b"3"}, force=True)

    assert link.is_symlink()
    assert target.read_bytes() == b"3"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_two_paths_to_one_file_are_refused(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "file"
    link.symlink_to(target)

    for force in (False, True):
        with pytest.raises(
            ConfigurationError, match=r"file: leads to the same file as .*link\. C"
        ):
            write_files({link: b"1", target: b"2"}, force=force)

    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_failure_leaves_no_folder_that_was_made_for_it(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    first, second = tmp_path / "mine" / "a" / "b" / "first", tmp_path / "c" / ("n" * 300)

    with pytest.raises(ConfigurationError, match="File name too long"):
        write_files({first: b"1", second: b"2"}, force=False)

    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


@pytest.mark.parametrize(
    "name", ["n" * 255, "\N{GRINNING FACE}" * 63], ids=["letters", "four bytes each"]
)
def test_every_name_that_a_file_may_have_can_be_written(tmp_path: Path, name: str) -> None:
    for force in (False, True):
        write_files({tmp_path / name: b"1"}, force=force)

    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("hard_links", [True, False], ids=["hard links", "no hard links"])
def test_a_file_that_another_writes_meanwhile_is_not_replaced_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"

    def meanwhile(_: int) -> None:
        theirs.write_bytes(b"theirs")

    monkeypatch.setattr(os, "fsync", meanwhile)
    if not hard_links:
        monkeypatch.setattr(os, "link", refused(errno.EPERM))
    with pytest.raises(ConfigurationError) as caught:
        write_files({mine: b"1", theirs: b"2"}, force=False)

    assert str(caught.value) == (
        f"{theirs}: already exists. Replace it with --force. Written before it: {mine}."
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "mine": b"1",
        "theirs": b"theirs",
    }


@pytest.mark.parametrize("renamed", [True, False])
def test_without_hard_links_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: bool
) -> None:
    monkeypatch.setattr(os, "link", refused(errno.EPERM))

    if renamed:
        write_files({tmp_path / "file": b"1"}, force=False)
    else:
        monkeypatch.setattr(Path, "replace", refused(errno.EIO))
        with pytest.raises(ConfigurationError, match="file: cannot be written: Input/output"):
            write_files({tmp_path / "file": b"1"}, force=False)

    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([b"1"] if renamed else [])


def refused(number: int) -> Callable[..., None]:
    """Return a call of the system that fails."""

    def call(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def test_where_a_later_file_cannot_take_its_place_those_before_it_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    second.symlink_to(tmp_path / "scratch" / "file")
    first.write_bytes(b"0")
    replace = Path.replace

    def failing(path: Path, target: Path) -> Path:
        if target.name == "file":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(ConfigurationError) as caught:
        write_files({first: b"1", second: b"2", third: b"3"}, force=True)

    # By the name that the user gave, not by that of the link's target.
    assert str(caught.value) == (
        f"{second}: cannot be written: Input/output error. Written before it: {first}."
    )
    assert first.read_bytes() == b"1"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["first", "scratch", "second"]
