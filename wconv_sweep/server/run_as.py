"""Lets root act as another user: PostgreSQL does not run as root, and root trusts no user files.

The work is done in a child process that gives root up for good; what it returns is plain data.
"""

import json
import os
import pwd
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wconv_sweep.errors import ConfigurationError, StorageError


def owner_for(
    folder: Path, user: str | None = None, *, making: bool = False
) -> pwd.struct_passwd | None:
    """Return the user to act as, or None for the caller.

    Args:
        folder: of a server, there or not.
        user: value of `--user`.
        making: create the folder if it is missing.

    Raises:
        ConfigurationError: root called and named no user; another one called and did; the folder
            belongs to somebody else.
    """
    if os.geteuid() != 0:
        if user is not None and _entry(user).pw_uid != os.geteuid():
            raise ConfigurationError(
                f"--user {user}: only root may act as another user. Leave --user out."
            )
        return None
    try:
        uid = folder.stat().st_uid
    except FileNotFoundError:
        uid = 0
    if uid == 0 and not making:
        return None
    if user is None:
        if uid == 0:
            raise ConfigurationError(
                "PostgreSQL does not run as root. Name the user for it with --user, "
                "or run this as that user."
            )
        return _entry(uid)
    entry = _entry(user)
    if entry.pw_uid == 0:
        raise ConfigurationError(
            "--user root: PostgreSQL does not run as root. Choose another user."
        )
    if uid not in (0, entry.pw_uid):
        raise ConfigurationError(
            f"--user {user}: {folder} belongs to {_name(uid)}. Name that user, or another folder "
            "with --folder."
        )
    if uid == 0:
        _make(folder, entry)
    return entry


def run_as(user: pwd.struct_passwd | None, work: Callable[[], Any]) -> Any:
    """Return the result of `work`, run as the user; all its imports must be loaded before.

    Args:
        user: to act as, None to stay who we are.
        work: returns a JSON value.

    Raises:
        ConfigurationError, StorageError: as `work` raised it.
    """
    if user is None:
        return work()
    # getaddrinfo and connect load this codec at their first call, when a Python in root's home
    # could no longer be read.
    "localhost".encode("idna")
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_in_child(user, work, reading, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    if not answer:
        raise RuntimeError(f"the process that acted as {user.pw_name} died; see above")
    word, value = json.loads(answer)
    if word == "ConfigurationError":
        raise ConfigurationError(value)
    if word == "StorageError":
        raise StorageError(value)
    return value


def _work_in_child(
    user: pwd.struct_passwd, work: Callable[[], Any], reading: int, writing: int
) -> None:
    """Send the outcome of the work through the pipe, and never return."""
    status = 1
    try:
        os.close(reading)
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
        try:
            answer = ["done", work()]
        except (ConfigurationError, StorageError) as error:
            answer = [type(error).__name__, str(error)]
        with os.fdopen(writing, "w", encoding="utf-8") as stream:
            json.dump(answer, stream)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: the parent's exit handlers and buffers are not ours.
        os._exit(status)


def _make(folder: Path, user: pwd.struct_passwd) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Root's own folders are not handed over, unless they are empty.
        if any(folder.iterdir()):
            raise ConfigurationError(
                f"{folder}: belongs to root and is not empty. Choose another folder with --folder."
            )
        os.chown(folder, user.pw_uid, user.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: cannot be made ({error.strerror}). Choose another folder with --folder."
        ) from error


def _entry(user: str | int) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError as error:
        raise ConfigurationError(
            f"--user {user}: there is no such user. Choose another."
        ) from error


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
