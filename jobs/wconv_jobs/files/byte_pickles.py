"""Pickles of arrays of bytes, read without running them: a pickle is a program."""

import io
import pickle
from typing import Any


def unpickled(content: bytes) -> object:
    """Return what a pickle describes: lists, dictionaries, texts, numbers, and arrays of bytes.

    Texts of Python 2, which were bytes, are read as latin1, which has a letter for each.

    Raises:
        Exception: of any kind; the pickle is damaged, or asks for something else.
    """
    return _Unpickler(io.BytesIO(content), encoding="latin1").load()


class ByteArray:
    """An array of bytes, as a pickle describes it."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.content = b""

    def __setstate__(self, state: object) -> None:
        match state:
            case (1, (int(images), int(pixels)), _Dtype(), 0, str() | bytes() as content):
                self.shape = (images, pixels)
                self.content = content if isinstance(content, bytes) else content.encode("latin1")
            case _:
                raise pickle.UnpicklingError("an array of something other than bytes")


class _Dtype:
    """The type of an array in a pickle: bytes, the only one that is accepted."""

    def __setstate__(self, state: object) -> None:
        """Accept the byte order and the sizes, which bytes do not need."""


class _Global:
    """Replaces the names in a pickle; the pickle cannot change any of it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *arguments: object) -> object:
        match self._name, arguments:
            case "_reconstruct", (_Global(), (0,), "b" | b"b"):
                return ByteArray()
            case "dtype", ("u1", 0, 1):
                return _Dtype()
        raise pickle.UnpicklingError(f"{self._name} with other arguments")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError(f"a state for {self._name}")


class _Unpickler(pickle.Unpickler):
    """Makes no objects but those, and runs no code of the file.

    A pickle may name the three functions with which numpy writes an array,
    and even these are replaced, because numpy's own make arrays of any type and size.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return _Global(name)

    def persistent_load(self, pid: object) -> Any:
        raise pickle.UnpicklingError("it asks for an object beside the file")


_ALLOWED = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    # The name since numpy 2, in files that somebody has written again.
    ("numpy._core.multiarray", "_reconstruct"),
}
