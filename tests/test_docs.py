"""The documentation is true: commands parse, keys and errors exist, the site builds."""

import ast
import functools
import importlib.util
import re
import shlex
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
import typer
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from tests.pages import SHELL, Block, blocks, blocks_of, pages, text_of
from wconv_jobs import catalog
from wconv_sweep.cli.app import app
from wconv_sweep.clusters.profile import LocalProfile, SlurmProfile, check_profile
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.files import check_study
from wconv_sweep.yaml_files import read_document

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = list(pages())
# What a title says of commands that do not work everywhere, or take long.
_MARK = re.compile(r"(on|with) (a|the) .+|on Leonardo|as root|(needs|takes) .+")
_RUN_BY_CI = "run by CI"
# Programs that are there on a cluster only.
_OF_A_SITE = ("module", "modmap", "saldo", "sbatch", "scancel", "scontrol", "squeue", "ssh")


def _load_hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "hooks" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOOK = _load_hook()


def _commands_in_blocks() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in blocks(page):
            for line in block.content.splitlines() if block.language == SHELL else ():
                if line.startswith("wconv-sweep "):
                    # What a shell would take for itself: comments, pipes and redirections.
                    yield page.name, re.split(r"\s[#|>]", line)[0]


def _commands_in_text() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for command in re.findall(r"`(wconv-sweep [^`]+)`", text_of(page)):
            yield page.name, command


@pytest.mark.parametrize(("page", "command"), sorted(set(_commands_in_blocks())))
def test_every_command_in_a_block_can_be_typed_as_it_stands(page: str, command: str) -> None:
    words = shlex.split(command)[1:]
    group = typer.main.get_command(app)
    verbs = getattr(group, "commands", {})
    if words[0].startswith("-"):
        # Not run: --install-completion would write into the home of who runs the tests.
        assert set(words) <= {option for param in group.params for option in param.opts}
        return

    while verbs:
        assert words[0] in verbs, f"{page}: {command}"
        verb, words = verbs[words[0]], words[1:]
        verbs = getattr(verb, "commands", {})
    # A command keeps the names of its help option from the first context that it is used in.
    names = group.context_settings["help_option_names"]
    verb.make_context(command, words, help_option_names=names)  # raises what the user would read


def test_commands_of_a_site_stand_only_in_blocks_that_say_where_they_work() -> None:
    unmarked = []
    for page in PAGES:
        for block in blocks(page):
            for line in block.content.splitlines() if block.is_typed else ():
                words = line.split()
                if words and words[0] in _OF_A_SITE:
                    unmarked.append(f"{page.name}: {line}")

    assert unmarked == []


@functools.cache
def _followed() -> set[str]:
    """Return the pages that tests follow, as their calls of `follow` name them."""
    return {
        node.args[0].value
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for test in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
        for node in ast.walk(test)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "follow"
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


def _neither_followed_nor_marked(shown: dict[str, list[Block]], followed: set[str]) -> list[str]:
    """Return the blocks of commands, by page, that no test executes and no title explains."""
    return [
        f"{page}: {block.content}"
        for page, found in shown.items()
        for block in found
        if block.language == SHELL
        and not (page in followed if block.is_typed or block.is_file else _is_mark(block.title))
    ]


def _is_mark(title: str) -> bool:
    return title == _RUN_BY_CI or _MARK.fullmatch(title) is not None


def test_every_block_of_commands_is_executed_by_a_test_or_says_why_not() -> None:
    shown = {page.relative_to(ROOT).as_posix(): blocks(page) for page in PAGES}

    assert _neither_followed_nor_marked(shown, _followed()) == []
    assert sum(block.is_typed for found in shown.values() for block in found) > 40


@pytest.mark.parametrize("title", ["", "see above", "saved.sh"])
def test_a_block_that_is_neither_followed_nor_marked_is_found(title: str) -> None:
    header = f'sh title="{title}"' if title else "sh"
    text = (DOCS / "storage.md").read_text("utf-8") + f"\n```{header}\nfalse\n```\n"
    assert blocks_of(text)[-1] == Block("sh", title, "false\n")

    found = _neither_followed_nor_marked({"docs/later.md": blocks_of(text)[-1:]}, _followed())

    assert found == ["docs/later.md: false\n"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_stand_in_blocks_of_one_language_that_are_all_understood(page: Path) -> None:
    found = blocks(page)
    fences = re.findall(r"^[ \t]*(?:```|~~~)", page.read_text("utf-8"), re.M)
    lines = [line for block in found if block.language != SHELL for line in _lines(block.content)]
    indented = re.findall(r"^(?: {4}|\t)\$? ?(?:make|pip|wconv-sweep) .*", text_of(page), re.M)

    assert len(fences) == 2 * len(found)
    assert {block.language for block in found} <= {SHELL, "python", "text", "yaml"}
    assert [line for line in lines if line.startswith("$ ")] == []
    assert indented == []


def _lines(content: str) -> list[str]:
    return [line.strip() for line in content.splitlines()]


def test_what_ci_is_said_to_run_is_part_of_what_it_runs() -> None:
    lines = [
        line
        for page in PAGES
        for block in blocks(page)
        for line in (block.content.splitlines() if block.title == _RUN_BY_CI else ())
    ]
    recipes = {
        line: subprocess.run(
            [*shlex.split(line, comments=True), "--dry-run"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for line in lines
    }
    whole = recipes[next(line for line in lines if line.startswith("make test "))]

    assert (ROOT / ".ci" / "run").read_text("utf-8").endswith("\nmake test\n")
    assert len(lines) == 4
    for line, recipe in recipes.items():
        assert set(recipe) <= set(whole), line


@pytest.mark.parametrize(("page", "command"), sorted(set(_commands_in_text())))
def test_every_command_in_a_sentence_has_a_verb_and_options_that_exist(
    page: str, command: str
) -> None:
    outcome = CliRunner().invoke(app, [*shlex.split(command)[1:], "--help"])

    assert outcome.exit_code == 0, f"{page}: {command}: {outcome.output}"


def test_every_verb_is_shown() -> None:
    shown = {command.split()[1] for _, command in _commands_in_blocks()}

    verbs = getattr(typer.main.get_command(app), "commands", {})
    assert shown >= {name for name, verb in verbs.items() if not verb.hidden}


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a file, by another way than the hook's."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        yield key
        container = typing.get_origin(field.annotation)
        entry = ".NAME" if container is dict else ".N" if container is list else ""
        for inner in _models_in(field.annotation):
            yield from _keys(inner, f"{key}{entry}.")


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)


@pytest.mark.parametrize(
    ("page", "request_line", "model"),
    [
        ("studies.md", "<!-- keys: study -->", StudyConfig),
        ("clusters.md", "<!-- keys: local -->", LocalProfile),
        ("clusters.md", "<!-- keys: slurm -->", SlurmProfile),
    ],
)
@pytest.mark.slow
def test_every_key_has_a_row_with_a_meaning(
    page: str, request_line: str, model: type[BaseModel]
) -> None:
    assert request_line in (DOCS / page).read_text("utf-8").splitlines()

    rows = list(HOOK.keys(model))

    assert {row[0] for row in rows} == set(_keys(model))
    assert [row[0] for row in rows if not row[3]] == []


@pytest.mark.parametrize("kind", ["models", "data"])
def test_every_option_has_a_row_with_a_meaning(kind: Literal["models", "data"]) -> None:
    assert f"<!-- options: {kind} -->" in (DOCS / "studies.md").read_text("utf-8").splitlines()

    for name in catalog.names(kind):
        rows = list(HOOK.options(kind, name))
        assert all(row[3] for row in rows), name
        assert [row[0] for row in rows if not catalog.has_option(kind, name, row[0])] == [], name


def _yaml_examples(first_key: str) -> list[tuple[str, str]]:
    return [
        (page.name, block.content)
        for page in PAGES
        for block in blocks(page)
        if block.language == "yaml"
        and block.content.startswith("schema:")
        and f"\n{first_key}:" in block.content
    ]


def test_the_study_files_shown_are_valid(tmp_path: Path) -> None:
    examples = _yaml_examples("study")
    path = tmp_path / "shown.yaml"

    for page, content in examples:
        if "\ncode:" in content:
            continue  # needs a module beside it; test_own_model follows that page
        path.write_text(content, "utf-8")
        check_study(read_document(path, page))

    assert len(examples) >= 3


def test_the_cluster_profiles_shown_are_valid(tmp_path: Path) -> None:
    examples = _yaml_examples("cluster")
    path = tmp_path / "shown.yaml"

    for page, content in examples:
        path.write_text(content, "utf-8")
        check_profile(read_document(path, page))

    assert len(examples) >= 1


def _texts_of_the_code() -> str:
    """Return all string constants, with `…` for what is filled in."""
    texts = []
    for folder in ("wconv_sweep", "jobs", "kernels", "trial"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
                elif isinstance(node, ast.JoinedStr):
                    parts = (
                        part.value if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    )
                    texts.append("".join(str(part) for part in parts))
    return "\n".join(texts)


def test_every_error_that_is_explained_exists_in_the_code() -> None:
    code = _texts_of_the_code()
    headings = re.findall(r"^### (.*`.*)$", (DOCS / "failures.md").read_text("utf-8"), re.M)
    messages = [message for heading in headings for message in re.findall(r"`([^`]+)`", heading)]

    # What comes before the first colon is often added where the message is printed.
    prefix = re.compile(r"^(\w+Error|\w+Diverged|\w+RanOut|RankDied|\w+\.\w+): ")
    shown = [prefix.sub("", message) for message in messages]
    fragments = {part.strip(" :") for text in shown for part in text.split("…")}
    missing = sorted(part for part in fragments if len(part) > 3 and part not in code)

    assert len(messages) > 30
    assert missing == []


def test_links_between_files_of_the_repository_exist() -> None:
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert broken == []


def test_the_places_for_additions_exist() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Adding something")[2]
    places = re.findall(r"`([\w./]+/[\w./]+)`", section)

    assert len(places) > 10
    assert [place for place in places if not list(ROOT.glob(place.replace("NAME", "*")))] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]

    def paths(node: object) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        elif isinstance(node, list | dict):
            for inner in node if isinstance(node, list) else node.values():
                yield from paths(inner)

    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert set(paths(navigation)) == pages


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert built.returncode == 0, built.stderr
    for page in tmp_path.rglob("*.html"):
        html = page.read_text("utf-8")
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]+=\"?https?:[^>]+>", html)
        assert loaded == [], page
        assert "<!-- keys" not in html
        assert "<!-- options" not in html
