"""Paths that a study names.

Importing this module does not import torch.
"""

from pathlib import Path

from wconv_jobs.errors import JobError


def absolute_folder(path: str) -> Path:
    """Return an absolute path as it is, and one that starts with ~ with the home folder in it.

    Raises:
        JobError: the path is relative, which a job would look for in the folder that it happens to
            start in, or it names a user who does not exist.
    """
    try:
        folder = Path(path).expanduser()
    except RuntimeError as error:
        raise JobError(f"{path}: there is no such user. Write an absolute path.") from error
    if not folder.is_absolute():
        raise JobError(
            f"{path}: is relative, but jobs do not start in this folder. "
            f"Write {folder.absolute()}."
        )
    return folder


def reason_of(error: OSError | ValueError) -> str:
    """Return why a path leads nowhere: the system's words, which no version of Python changes.

    Args:
        error: a ValueError is that of a path with a null byte.
    """
    return getattr(error, "strerror", None) or "its name holds a null byte"
