"""Writes the Python form of CIFAR-100 with pickles of Python 2, which Python 3 cannot write."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def python_images(pixels: NDArray[np.uint8], classes: Sequence[int], part: str) -> bytes:
    """Return the file of images in the Python form, as Python 2 would have written it.

    Args:
        pixels: shape (N, 3072).
        classes: N class labels.
        part: train or test.
    """
    return _python2_pickle(
        {
            "filenames": [f"{part}_{number:06}.png" for number in range(len(classes))],
            "batch_label": f"{part}ing batch 1 of 1",
            "fine_labels": list(classes),
            "coarse_labels": [number // 5 for number in classes],
            "data": pixels,
        }
    )


def python_names(fine: Sequence[str], coarse: Sequence[str]) -> bytes:
    """Return the file of class names in the Python form."""
    return _python2_pickle({"fine_label_names": list(fine), "coarse_label_names": list(coarse)})


def _python2_pickle(content: dict[str, Any]) -> bytes:
    """Return a pickle of protocol 2, with Python 2's texts; Python 3 would write other ones."""
    return b"\x80\x02" + _pickled(content) + b"."


def _pickled(value: object) -> bytes:
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, str | bytes):
        raw = value if isinstance(value, bytes) else value.encode("ascii")
        return b"T" + struct.pack("<i", len(raw)) + raw
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_pickled, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(_pickled, value)) + b"e"
    if isinstance(value, dict):
        items = (_pickled(key) + _pickled(item) for key, item in value.items())
        return b"}(" + b"".join(items) + b"u"
    assert isinstance(value, np.ndarray)
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _pickled((0,))
    dtype = b"cnumpy\ndtype\n" + _pickled(("u1", 0, 1)) + b"R"
    dtype += b"(J\x03\x00\x00\x00T\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = _pickled(1) + _pickled(value.shape) + dtype + b"\x89" + _pickled(value.tobytes())
    return empty + _pickled("b") + b"tR(" + state + b"tb"
