"""The two published forms of CIFAR-100 on disk, read without running their pickles.

    cifar-100-python/  train, test, meta: pickles, written by Python 2
    cifar-100-binary/  train.bin, test.bin: records of 3,074 bytes, namely coarse class, fine class
                       and 3,072 pixels; fine_label_names.txt: one name per line

Pixels are the planes red, green and blue of 32 rows with 32 columns, classes the fine ones
(Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html). Importing this module does not
import torch.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wconv_jobs.errors import JobError
from wconv_jobs.files.byte_pickles import ByteArray, unpickled

# Shape letters: N images, C channels, H height, W width.

CLASSES = 100

Form = Literal["python", "binary"]
"""The archive that was unpacked."""

ARCHIVE = "cifar-100-python.tar.gz"
ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True)
class Source:
    """A folder that holds the data set."""

    form: Form
    folder: Path

    def files(self) -> dict[str, Path]:
        """Return the files that are read: train, test and names."""
        return {role: self.folder / fact.name for role, fact in _FILES[self.form].items()}


@dataclass(frozen=True)
class Cifar100:
    """The images of the data set; both forms give the same."""

    train_NCHW: NDArray[np.uint8]
    train_class_N: NDArray[np.int64]
    test_NCHW: NDArray[np.uint8]
    test_class_N: NDArray[np.int64]
    class_names: list[str]


def find(folder: Path) -> Source:
    """Find the data set in a folder: in a subfolder of one of the two forms, or in itself.

    Raises:
        JobError: neither is there; the message says what to fetch.
    """
    for form in _FILES:
        for place in (folder / f"cifar-100-{form}", folder):
            source = Source(form, place)
            # Of os.path, because it takes a file in a folder without access for missing.
            if any(os.path.isfile(path) for path in source.files().values()):
                return source
    there = "holds neither cifar-100-python nor cifar-100-binary with files that you may read"
    raise JobError(
        f"{folder}: {there if os.path.isdir(folder) else 'there is no such folder'}. Nothing is "
        f"downloaded, because compute nodes have no network: fetch {ARCHIVE} from {ADDRESS} and "
        "unpack it there."
    )


def check_files(source: Source, *, verify: bool, thorough: bool) -> list[str]:
    """Return one sentence per file that is missing or not the published one.

    Args:
        source: see `find`.
        verify: look at the sizes, and not at whether the files can be read alone.
        thorough: look at the checksums, too; without `verify`, at what the files hold.
    """
    problems = []
    for role, path in source.files().items():
        try:
            if not verify:
                path.open("rb").close()
            elif thorough:
                _require_published(source, role, _read(path))
            else:
                _require_size(source, role, path.stat().st_size)
        except OSError as error:
            problems.append(str(_unreadable(path, error)))
        except JobError as error:
            problems.append(str(error))
    if thorough and not verify and not problems:
        try:
            read(source, verify=False)
        except JobError as error:
            problems.append(str(error))
    return problems


def read(source: Source, *, verify: bool) -> tuple[Cifar100, dict[str, dict[str, Any]]]:
    """Return the data set, and name, size and SHA-256 of each file that it was read from.

    Args:
        source: see `find`.
        verify: take nothing but the published files; otherwise a part of the data set is taken.

    Raises:
        JobError: a file is missing, not the published one, damaged, or holds something else.
    """
    contents: dict[str, bytes] = {}
    for role, path in source.files().items():
        contents[role] = _read(path)
        if verify:
            _require_published(source, role, contents[role])
    paths = source.files()
    provenance = {
        paths[role].name: {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for role, content in contents.items()
    }
    read_images = _python_images if source.form == "python" else _binary_images
    read_names = _python_names if source.form == "python" else _binary_names
    names = read_names(paths["names"], contents["names"])
    train_NCHW, train_class_N = read_images(paths["train"], contents["train"])
    test_NCHW, test_class_N = read_images(paths["test"], contents["test"])
    return Cifar100(train_NCHW, train_class_N, test_NCHW, test_class_N, names), provenance


@dataclass(frozen=True)
class _File:
    name: str
    bytes: int | None
    md5: str | None


# As unpacked from the published archives. The sums of the binary files are not published; their
# sizes are 50,000 and 10,000 records.
_FILES: dict[Form, dict[str, _File]] = {
    "python": {
        "train": _File("train", 155_249_918, "16019d7e3df5f24257cddd939b257f8d"),
        "test": _File("test", 31_049_707, "f0ef6b0ae62326f3e7ffdfab6717acfc"),
        "names": _File("meta", 1_473, "7973b15100ade9c7d40fb424638fde48"),
    },
    "binary": {
        "train": _File("train.bin", 153_700_000, None),
        "test": _File("test.bin", 30_740_000, None),
        "names": _File("fine_label_names.txt", None, None),
    },
}
_PIXELS = 3 * 32 * 32
_RECORD = 2 + _PIXELS


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> JobError:
    return JobError(
        f"{path}: cannot be read ({error.strerror}). Unpack the archive of CIFAR-100 again, with "
        "files that you may read."
    )


def _require_size(source: Source, role: str, size: int) -> None:
    fact = _FILES[source.form][role]
    if fact.bytes is not None and size != fact.bytes:
        raise JobError(
            f"{source.folder / fact.name}: has {size:,} bytes, but CIFAR-100's has "
            f"{fact.bytes:,}. Unpack the archive again; if the data are meant to be a part of "
            "CIFAR-100, set data.options.verify to false."
        )


def _require_published(source: Source, role: str, content: bytes) -> None:
    _require_size(source, role, len(content))
    fact = _FILES[source.form][role]
    # The sum finds damage; safety does not depend on it.
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if fact.md5 is not None and md5 != fact.md5:
        raise JobError(
            f"{source.folder / fact.name}: has the MD5 sum {md5}, but CIFAR-100's has "
            f"{fact.md5}. Fetch and unpack {ARCHIVE} again."
        )


def _damaged(path: Path, reason: object) -> JobError:
    return JobError(f"{path}: is not a CIFAR-100 file ({reason}). Unpack the archive again.")


def _binary_images(path: Path, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not content or len(content) % _RECORD:
        raise _damaged(path, f"{len(content):,} bytes are not whole records of {_RECORD:,}")
    record_NR = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    return _images(path, record_NR[:, 2:], record_NR[:, 1].astype(np.int64))


def _binary_names(path: Path, content: bytes) -> list[str]:
    return _names(path, [line.strip() for line in content.decode("latin1").split("\n")])


def _python_images(path: Path, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    found = _unpickled(path, content)
    classes, pixels = found.get("fine_labels"), found.get("data")
    if not isinstance(pixels, ByteArray) or pixels.shape[1:] != (_PIXELS,):
        raise _damaged(path, f"its data are not bytes of shape (N, {_PIXELS:,})")
    pixel_NP = np.frombuffer(pixels.content, np.uint8)
    if pixel_NP.size != pixels.shape[0] * _PIXELS:
        raise _damaged(path, f"{pixel_NP.size:,} bytes are not {pixels.shape[0]:,} images")
    # Not isinstance: True is an int, too.
    if not isinstance(classes, list) or any(type(number) is not int for number in classes):
        raise _damaged(path, "its fine_labels are not a list of whole numbers")
    if any(not 0 <= number < CLASSES for number in classes):
        raise _damaged(path, f"its fine_labels are not all from 0 to {CLASSES - 1}")
    return _images(path, pixel_NP.reshape(-1, _PIXELS), np.array(classes, np.int64))


def _python_names(path: Path, content: bytes) -> list[str]:
    return _names(path, _unpickled(path, content).get("fine_label_names"))


def _images(
    path: Path, pixel_NP: NDArray[np.uint8], class_N: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not len(class_N) or len(pixel_NP) != len(class_N):
        raise _damaged(path, f"it has {len(pixel_NP)} images and {len(class_N)} fine labels")
    if class_N.max() >= CLASSES:
        raise _damaged(path, f"its fine labels are not all from 0 to {CLASSES - 1}")
    return pixel_NP.reshape(-1, 3, 32, 32), class_N


def _names(path: Path, names: object) -> list[str]:
    if not isinstance(names, list) or any(type(name) is not str for name in names):
        raise _damaged(path, "it holds no list of class names")
    named = [name for name in names if name]
    if len(set(named)) != CLASSES or len(named) != CLASSES:
        raise _damaged(path, f"it holds {len(named)} class names instead of {CLASSES}")
    return named


def _unpickled(path: Path, content: bytes) -> dict[str, Any]:
    try:
        found = unpickled(content)
    # A damaged pickle may raise anything.
    except Exception as error:
        raise _damaged(path, error) from error
    if type(found) is not dict:
        raise _damaged(path, "it holds no dictionary")
    return found
