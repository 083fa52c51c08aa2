"""The two forms of CIFAR-100: the same images, nothing executed, and damage named."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.jobs.files.cifar_python_form import python_images, python_names
from wconv_jobs.errors import JobError
from wconv_jobs.files import cifar
from wconv_jobs.files.cifar import check_files, find, read

# Shape letters: N images, P pixels.

NAMES = [f"class {number}" for number in range(100)]
COARSE = [f"group {number}" for number in range(20)]


def _pixels(images: int) -> NDArray[np.uint8]:
    return np.random.RandomState(images).randint(0, 256, (images, 3072)).astype(np.uint8)


def _python_form(folder: Path) -> Path:
    """Write three training images and two test images, and return the folder of the files."""
    place = folder / "cifar-100-python"
    place.mkdir(parents=True)
    (place / "train").write_bytes(python_images(_pixels(3), [0, 99, 41], "train"))
    (place / "test").write_bytes(python_images(_pixels(2), [7, 0], "test"))
    (place / "meta").write_bytes(python_names(NAMES, COARSE))
    return place


def _binary_form(folder: Path) -> Path:
    """Write the same images."""
    place = folder / "cifar-100-binary"
    place.mkdir(parents=True)
    for name, classes in (("train.bin", [0, 99, 41]), ("test.bin", [7, 0])):
        label_N2 = np.array([[19, number] for number in classes], np.uint8)
        record_NR = np.concatenate([label_N2, _pixels(len(classes))], axis=1)
        (place / name).write_bytes(record_NR.tobytes())
    (place / "fine_label_names.txt").write_text("".join(f"{name}\n" for name in NAMES) + "\n")
    return place


FORMS = [_python_form, _binary_form]


@pytest.mark.parametrize("form", FORMS)
def test_both_forms_hold_the_same_images(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    form(tmp_path)

    images, _ = read(find(tmp_path), verify=False)

    assert np.array_equal(images.train_NCHW, _pixels(3).reshape(3, 3, 32, 32))
    assert np.array_equal(images.test_NCHW, _pixels(2).reshape(2, 3, 32, 32))
    assert images.train_class_N.tolist() == [0, 99, 41]
    assert images.test_class_N.tolist() == [7, 0]
    assert images.train_class_N.dtype == np.int64
    assert images.class_names == NAMES


@pytest.mark.parametrize("form", FORMS)
def test_the_folder_of_the_files_may_be_named_itself(
    tmp_path: Path, form: Callable[[Path], Path]
) -> None:
    place = form(tmp_path)

    assert find(place) == find(tmp_path)
    assert find(tmp_path).folder == place


def test_the_form_with_checksums_goes_first(tmp_path: Path) -> None:
    _binary_form(tmp_path)
    _python_form(tmp_path)

    assert find(tmp_path).form == "python"


def test_the_synthetic_files_are_what_python_2_would_have_written() -> None:
    content = python_images(_pixels(2), [7, 0], "test")

    # Read by numpy's own functions, which only our own bytes are given to.
    found = pickle.loads(content, encoding="latin1")
    texts = pickle.loads(content, encoding="bytes")

    assert list(found) == ["filenames", "batch_label", "fine_labels", "coarse_labels", "data"]
    assert found["filenames"] == ["test_000000.png", "test_000001.png"]
    assert found["fine_labels"] == [7, 0]
    assert np.array_equal(found["data"], _pixels(2))
    assert found["data"].dtype == np.uint8
    assert texts[b"filenames"][0] == b"test_000000.png"
    assert content[:2] == b"\x80\x02"


@pytest.mark.parametrize("protocol", [3, 4])
def test_files_that_python_3_has_written_again_are_read(tmp_path: Path, protocol: int) -> None:
    place = _python_form(tmp_path)
    again = {"fine_labels": [1, 2], "data": _pixels(2)}
    (place / "test").write_bytes(pickle.dumps(again, protocol))

    images, _ = read(find(tmp_path), verify=False)

    assert np.array_equal(images.test_NCHW, _pixels(2).reshape(2, 3, 32, 32))
    assert images.test_class_N.tolist() == [1, 2]


def _call(module: str, name: str, *arguments: object) -> bytes:
    """Return a pickle that calls a function."""
    pushed = b"".join(pickle.dumps(argument, 2)[2:-1] for argument in arguments)
    return b"\x80\x02c" + f"{module}\n{name}\n(".encode() + pushed + b"tR."


def _stack_global(module: str, name: str, argument: str) -> bytes:
    """Return the same with the opcodes of protocol 4."""
    pushed = [b"\x8c" + struct.pack("<B", len(text)) + text.encode() for text in (module, name)]
    return b"\x80\x04" + b"".join(pushed) + b"\x93" + pickle.dumps(argument, 2)[2:-1] + b"\x85R."


_NDARRAY = b"cnumpy\nndarray\n"
_DTYPE_O = b"cnumpy\ndtype\nU\x01OK\x00K\x01\x87R"


@pytest.mark.parametrize(
    ("payload", "asked"),
    [
        (lambda marker: _call("posix", "system", f"touch {marker}"), "posix.system"),
        (lambda marker: _call("os", "system", f"touch {marker}"), "os.system"),
        (lambda marker: _call("builtins", "eval", f"open({marker!r}, 'w')"), "builtins.eval"),
        (lambda marker: _call("__builtin__", "open", marker, "w"), "__builtin__.open"),
        (lambda marker: _call("subprocess", "Popen", ["touch", marker]), "subprocess.Popen"),
        (lambda marker: _stack_global("posix", "system", f"touch {marker}"), "posix.system"),
        (lambda marker: _stack_global("numpy", "load.__globals__", marker), "numpy.load"),
        (lambda marker: _call("numpy", "load", marker, None, True), "numpy.load"),
        (lambda marker: _call("numpy", "memmap", marker, "u1", "w+"), "numpy.memmap"),
        (lambda marker: _call("numpy", "fromfile", marker), "numpy.fromfile"),
        (
            lambda marker: _call("numpy.core.multiarray", "scalar", None, b"x"),
            "numpy.core.multiarray.scalar",
        ),
        (lambda marker: _call("_codecs", "encode", "x", "latin1"), "_codecs.encode"),
        # INST, the oldest way to call.
        (lambda marker: b"(S'touch " + marker.encode() + b"'\niposix\nsystem\n.", "posix.system"),
    ],
)
def test_a_pickle_that_calls_a_function_is_refused_and_nothing_happens(
    tmp_path: Path, payload: Callable[[str], bytes], asked: str
) -> None:
    marker = tmp_path / "marker"
    place = _python_form(tmp_path)
    (place / "train").write_bytes(payload(str(marker)))

    with pytest.raises(JobError) as raised:
        read(find(tmp_path), verify=False)

    assert str(raised.value).startswith(f"{place}/train: is not a CIFAR-100 file (it asks for ")
    assert asked in str(raised.value)
    assert "which is refused" in str(raised.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    "payload",
    [
        # An array of objects over bytes: its elements would be addresses of the file's choice.
        b"\x80\x02" + _NDARRAY + b"K\x01\x85" + _DTYPE_O + b"U\x08AAAAAAAA\x87R.",
        _DTYPE_O + b".",
        # A terabyte of zeros.
        b"\x80\x02" + _NDARRAY + b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85\x85R.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n" + _NDARRAY + b"K\x09\x85U\x01b\x87R.",
        # What a pickle may name shall stay as it is: new state for it, an instance of it.
        b"\x80\x02" + _NDARRAY + b"}U\x01aK\x01sb.",
        b"\x80\x02" + _NDARRAY + b"N}U\x08__call__K\x01s\x86b.",
        b"\x80\x02" + _NDARRAY + b")\x81.",
        # State of another type, and state for what takes none.
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n("
        + _NDARRAY
        + b"K\x00\x85U\x01btRK\x01b.",
        b"\x80\x02K\x01}b.",
        # An object that lies elsewhere, an extension, a buffer beside the file.
        b"\x80\x02U\x01aQ.",
        b"\x80\x02\x82\x01.",
        b"\x80\x05\x97.",
        b"",
        b".",
        b"\x80\x02K\x01.",
        b"no pickle at all",
    ],
)
def test_a_pickle_of_anything_else_is_refused_with_a_sentence(
    tmp_path: Path, payload: bytes
) -> None:
    place = _python_form(tmp_path)
    (place / "train").write_bytes(payload)

    with pytest.raises(JobError, match=r"train: is not a CIFAR-100 file \(.*\)\. Unpack the arch"):
        read(find(tmp_path), verify=False)

    # The next file is read as if nothing had been.
    (place / "train").write_bytes(python_images(_pixels(1), [5], "train"))
    assert read(find(tmp_path), verify=False)[0].train_class_N.tolist() == [5]


def _pickled(**changes: Any) -> bytes:
    content = {"fine_labels": [1, 2], "data": _pixels(2)} | changes
    return pickle.dumps({key: value for key, value in content.items() if value is not None}, 4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_pickled(fine_labels=[1]), "it has 2 images and 1 fine labels"),
        (_pickled(fine_labels=[1, 100]), "its fine_labels are not all from 0 to 99"),
        (_pickled(fine_labels=[1, -1]), "its fine_labels are not all from 0 to 99"),
        (_pickled(fine_labels=[1, 2.0]), "its fine_labels are not a list of whole numbers"),
        (_pickled(fine_labels=[1, True]), "its fine_labels are not a list of whole numbers"),
        (_pickled(fine_labels=None), "its fine_labels are not a list of whole numbers"),
        (_pickled(data=None), "its data are not bytes of shape (N, 3,072)"),
        (_pickled(data=b"bytes"), "its data are not bytes of shape (N, 3,072)"),
        (_pickled(data=_pixels(2)[:, 1:].copy()), "its data are not bytes of shape (N, 3,072)"),
        (_pickled(data=_pixels(2).astype(np.int16)), "dtype with other arguments"),
        (_pickled(data=_pixels(2).reshape(-1)), "an array of something other than bytes"),
        (_pickled(data=np.asfortranarray(_pixels(2))), "an array of something other than bytes"),
        (_pickled(data=_pixels(0), fine_labels=[]), "it has 0 images and 0 fine labels"),
        (pickle.dumps([1, 2], 4), "it holds no dictionary"),
        (python_images(_pixels(2), [1, 2], "test")[:-1000], "pickle data was truncated"),
    ],
)
def test_wrong_contents_of_the_python_form_are_named(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    place = _python_form(tmp_path)
    (place / "test").write_bytes(content)

    with pytest.raises(JobError) as raised:
        read(find(tmp_path), verify=False)

    assert str(raised.value) == (
        f"{place}/test: is not a CIFAR-100 file ({reason}). Unpack the archive again."
    )


def test_an_array_whose_bytes_do_not_fill_its_shape_is_refused(tmp_path: Path) -> None:
    place = _python_form(tmp_path)
    content = python_images(_pixels(2), [1, 2], "test")
    two_images, three_images = (b"J" + struct.pack("<i", n) + b"J\x00\x0c" for n in (2, 3))
    (place / "test").write_bytes(content.replace(two_images, three_images))

    with pytest.raises(JobError, match=r"test: is not .* \(6,144 bytes are not 3 images\)"):
        read(find(tmp_path), verify=False)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes are not whole records of 3,074"),
        (bytes(3073), "3,073 bytes are not whole records of 3,074"),
        (b"\x00\x64" + bytes(3072), "its fine labels are not all from 0 to 99"),
    ],
)
def test_wrong_contents_of_the_binary_form_are_named(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    place = _binary_form(tmp_path)
    (place / "test.bin").write_bytes(content)

    with pytest.raises(JobError) as raised:
        read(find(tmp_path), verify=False)

    assert str(raised.value) == (
        f"{place}/test.bin: is not a CIFAR-100 file ({reason}). Unpack the archive again."
    )


@pytest.mark.parametrize(
    ("form", "name", "content", "reason"),
    [
        (_python_form, "meta", pickle.dumps({}), "it holds no list of class names"),
        (_python_form, "meta", pickle.dumps({"fine_label_names": [1]}), "it holds no list of"),
        (_python_form, "meta", python_names(NAMES[1:], COARSE), "it holds 99 class names instead"),
        (_binary_form, "fine_label_names.txt", b"a\nb\n", "it holds 2 class names instead of 100"),
        (_binary_form, "fine_label_names.txt", b"a\n" * 100, "it holds 100 class names instead"),
    ],
)
def test_wrong_class_names_are_named(
    tmp_path: Path, form: Callable[[Path], Path], name: str, content: bytes, reason: str
) -> None:
    (form(tmp_path) / name).write_bytes(content)

    with pytest.raises(JobError) as raised:
        read(find(tmp_path), verify=False)

    assert reason in str(raised.value)


def test_an_empty_folder_is_named_with_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(JobError) as raised:
        find(tmp_path)

    assert str(raised.value) == (
        f"{tmp_path}: holds neither cifar-100-python nor cifar-100-binary with files that you may "
        "read. Nothing is downloaded, because compute nodes have no network: fetch "
        "cifar-100-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it "
        "there."
    )


@pytest.mark.parametrize("name", ["nowhere", "a\0b"])
def test_a_missing_folder_is_named_with_what_to_fetch(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError, match=r": there is no such folder\. .*cifar-100-python\.tar\.gz"):
        find(tmp_path / name)


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize(("form", "name"), [(_python_form, "meta"), (_binary_form, "test.bin")])
def test_a_missing_file_is_named(
    tmp_path: Path, form: Callable[[Path], Path], name: str, verify: bool, thorough: bool
) -> None:
    place = form(tmp_path)
    (place / name).unlink()

    problems = check_files(find(tmp_path), verify=verify, thorough=thorough)

    sentence = (
        f"{place}/{name}: cannot be read (No such file or directory). Unpack the archive of "
        "CIFAR-100 again, with files that you may read."
    )
    assert sentence in problems
    with pytest.raises(JobError, match=r"cannot be read \(No such file or directory\)"):
        read(find(tmp_path), verify=False)


@pytest.mark.parametrize("form", FORMS)
def test_without_verification_any_files_that_can_be_read_pass(
    tmp_path: Path, form: Callable[[Path], Path]
) -> None:
    form(tmp_path)

    assert check_files(find(tmp_path), verify=False, thorough=True) == []


@pytest.mark.parametrize("form", FORMS)
def test_without_verification_a_thorough_check_reads_what_the_files_hold(
    tmp_path: Path, form: Callable[[Path], Path]
) -> None:
    names = find(form(tmp_path)).files()["names"]
    names.write_bytes(b"no names of classes")

    (problem,) = check_files(find(tmp_path), verify=False, thorough=True)

    assert check_files(find(tmp_path), verify=False, thorough=False) == []
    with pytest.raises(JobError) as raised:
        read(find(tmp_path), verify=False)
    assert problem == str(raised.value)
    assert problem.startswith(f"{names}: ")


def test_other_sizes_than_the_published_ones_are_named(tmp_path: Path) -> None:
    place = _binary_form(tmp_path)

    problems = check_files(find(tmp_path), verify=True, thorough=False)

    advice = (
        "Unpack the archive again; if the data are meant to be a part of CIFAR-100, set "
        "data.options.verify to false."
    )
    assert problems == [
        f"{place}/train.bin: has 9,222 bytes, but CIFAR-100's has 153,700,000. {advice}",
        f"{place}/test.bin: has 6,148 bytes, but CIFAR-100's has 30,740,000. {advice}",
    ]
    with pytest.raises(JobError, match=r"train\.bin: has 9,222 bytes"):
        read(find(tmp_path), verify=True)


def test_other_sums_than_the_published_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = _python_form(tmp_path)
    published = {
        role: cifar._File(path.name, path.stat().st_size, "0" * 32)
        for role, path in find(tmp_path).files().items()
    }
    monkeypatch.setitem(cifar._FILES, "python", published)

    quick = check_files(find(tmp_path), verify=True, thorough=False)
    problems = check_files(find(tmp_path), verify=True, thorough=True)

    assert quick == []
    assert len(problems) == 3
    # The sum is that of md5sum.
    assert problems[2] == (
        f"{place}/meta: has the MD5 sum ed0436362fc74de4a115abb56e077d16, but CIFAR-100's has "
        f"{'0' * 32}. Fetch and unpack cifar-100-python.tar.gz again."
    )
    with pytest.raises(JobError, match="train: has the MD5 sum"):
        read(find(tmp_path), verify=True)


def test_the_published_sizes_are_those_of_all_images() -> None:
    records = {"train": 50_000 * 3074, "test": 10_000 * 3074}

    sizes = {role: fact.bytes for role, fact in cifar._FILES["binary"].items()}

    assert sizes == {**records, "names": None}


def test_the_sources_are_told_with_size_and_sum(tmp_path: Path) -> None:
    place = _binary_form(tmp_path)
    (place / "fine_label_names.txt").write_text("\n".join(NAMES))

    _, provenance = read(find(tmp_path), verify=False)

    assert list(provenance) == ["train.bin", "test.bin", "fine_label_names.txt"]
    assert provenance["train.bin"]["bytes"] == 3 * 3074
    # seq -f 'class %.0f' 0 99 | head -c -1 | sha256sum
    assert provenance["fine_label_names.txt"] == {
        "bytes": 889,
        "sha256": "932f28a74dc3026b077ae157e123f428ec3bab3c1c7d7f0702dfee266361f362",
    }
