"""What `--help` shows of every command, on a terminal of 80 columns."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from wconv_sweep.cli.app import app
from wconv_sweep.cli.help_sections import OTHER, PANELS


def _commands(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, *path, name)


COMMANDS = dict(_commands(typer.main.get_command(app)))


def _help(path: tuple[str, ...]) -> str:
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"})
    assert shown.exit_code == 0
    return shown.output


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_begins_with_a_line_that_every_list_shows_whole(path: tuple[str, ...]) -> None:
    first = (COMMANDS[path].help or "").splitlines()[0]

    assert first.endswith(".")
    if path:
        assert len(first) <= 60
        assert f"  {first}\n" in _help(path[:-1]) or COMMANDS[path[:1]].hidden
    assert "..." not in _help(path).partition("Commands:")[2]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_value_has_a_name_and_a_meaning_and_no_type_of_the_parser(
    path: tuple[str, ...],
) -> None:
    for parameter in COMMANDS[path].params:
        assert parameter.help, parameter.name
        if parameter.param_type_name == "argument" or not parameter.is_flag:
            assert re.fullmatch("[A-Z]+(=[A-Z]+)?", parameter.metavar or ""), parameter.name

    assert re.findall(r"<\w[^>]*>|\b(?:TEXT|INTEGER|FLOAT)\b", _help(path)) == []


def test_every_option_of_launch_stands_in_a_panel() -> None:
    options = [each for each in COMMANDS["launch",].params if each.name != "help"]
    sections = re.split(r"^(\S.*):$", _help(("launch",)), flags=re.MULTILINE)
    shown = dict(zip(sections[1::2], sections[2::2], strict=True))

    assert tuple(shown) == PANELS
    for option in options:
        assert option.rich_help_panel in PANELS
        assert f"\n  {option.opts[0]}" in shown[option.rich_help_panel]
    assert re.findall(r"^  (-.*?)  ", shown[OTHER], re.MULTILINE) == ["-h, --help"]
