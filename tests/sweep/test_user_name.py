"""A user without an entry on the machine, as in a container, has a name all the same."""

import os
import pwd

import pytest

from wconv_sweep.user_name import user_name


def test_the_name_is_the_machines() -> None:
    assert user_name({"USER": "somebody"}) == pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize(
    ("environment", "name"),
    [({"LOGNAME": "ada", "USER": "x"}, "ada"), ({"USER": "ada"}, "ada"), ({}, "54321")],
)
def test_without_an_entry_it_is_what_the_shell_says(
    environment: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)

    assert user_name(environment) == name
