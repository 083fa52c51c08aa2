"""What a command writes is there whole or not at all, and replaces nothing unasked."""

import os
import stat
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
        with pytest.raises(ConfigurationError, match="is no file that could be replaced"):
            write_files({path: b"1"}, force=True)

    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_link_still_leads_to_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    link, target = tmp_path / "link", tmp_path / "scratch" / "file"
    link.symlink_to(target)

    write_files({link: b"1"}, force=False)
    with pytest.raises(ConfigurationError, match="link: exists already"):
        write_files({link: b"2"}, force=False)
    write_files({link: b"3"}, force=True)

    assert link.is_symlink()
    assert target.read_bytes() == b"3"
    assert [path.name for path in target.parent.iterdir()] == ["file"]
