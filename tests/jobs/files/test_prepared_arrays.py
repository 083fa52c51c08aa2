"""Prepared arrays: written part by part, mapped by every rank, and looked after."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wconv_jobs.errors import JobError
from wconv_jobs.files.prepared import make_once
from wconv_jobs.files.prepared_arrays import find_damage, mapped_array, prepared_index, write_array


def _write(path: Path) -> str:
    rows = (np.full((1, 2), row) for row in range(3))
    return write_array(path, rows, (3, 2), np.int64)


def test_parts_become_one_array_that_numpy_reads(tmp_path: Path) -> None:
    sha256 = _write(tmp_path / "a.npy")

    array = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert array.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert array.dtype == np.int64
    assert sha256 == hashlib.sha256(array.tobytes()).hexdigest()


def test_any_layout_in_memory_gives_the_same_file(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)

    for name, same in (
        ("a", array),
        ("b", np.asfortranarray(array)),
        ("c", np.repeat(array, 2, 1)[:, ::2]),
    ):
        write_array(tmp_path / name, [same], (2, 3), np.uint8)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()


def test_a_mapped_array_becomes_a_tensor_without_a_warning_or_a_copy(tmp_path: Path) -> None:
    _write(tmp_path / "a.npy")
    array = mapped_array(tmp_path / "a.npy")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(array)

    assert isinstance(array, np.memmap)
    assert tensor.data_ptr() == array.ctypes.data
    assert tensor.tolist() == [[0, 0], [1, 1], [2, 2]]


def test_writing_to_a_mapped_array_leaves_the_file_alone(tmp_path: Path) -> None:
    _write(tmp_path / "a.npy")

    mapped_array(tmp_path / "a.npy")[:] = 9

    assert mapped_array(tmp_path / "a.npy").max() == 2


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _of_objects(path: Path) -> None:
    np.save(path, np.array([print], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("damage", [Path.unlink, _cut_off, _of_objects])
def test_a_file_that_is_no_array_is_named_with_what_to_do(tmp_path: Path, damage: Any) -> None:
    _write(tmp_path / "a.npy")
    damage(tmp_path / "a.npy")

    with pytest.raises(JobError) as raised:
        mapped_array(tmp_path / "a.npy")

    assert str(raised.value).startswith(f"{tmp_path}/a.npy: cannot be read (")
    assert str(raised.value).endswith(f"). Delete {tmp_path} and prepare the data again.")


def test_changed_values_are_found(tmp_path: Path) -> None:
    sums = {name: _write(tmp_path / name) for name in ("a.npy", "b.npy")}
    content = (tmp_path / "b.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(content[:-1] + b"\1")

    assert find_damage(tmp_path, sums) == [
        f"{tmp_path}/b.npy: has changed since it was prepared. Delete {tmp_path} and prepare the "
        "data again."
    ]


def test_data_that_have_not_been_prepared_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(JobError) as raised:
        prepared_index(tmp_path / "set-v1", ["sha256"])
    make_once(tmp_path / "set-v1", lambda unfinished: {"a": 1}, size_bytes=0)

    assert str(raised.value) == (
        f"{tmp_path}/set-v1: the data have not been prepared. Run "
        "`wconv-sweep data prepare --study STUDY` first."
    )
    assert prepared_index(tmp_path / "set-v1", ["a"]) == {"a": 1}
