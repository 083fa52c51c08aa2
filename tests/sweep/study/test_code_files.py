"""The copy of a training program holds what it may read, and links to what is data."""

import os
import stat
from pathlib import Path

import pytest
import yaml

from tests.sweep.scenarios.test_own_program import PROGRAM, STUDY
from tests.sweep.tiny import run
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.study.code_files import MAX_FILES, MAX_PROGRAM_FILE_BYTES, CodeRule
from wconv_sweep.study.files import load_study
from wconv_sweep.study.own_modules import freeze_modules, modules_sha256

PROGRAM_RULE = CodeRule(is_program=True)


def _write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "utf-8")


def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_PROGRAM_FILE_BYTES + 1)  # takes no room on the disk


def _copied(copy: Path) -> list[str]:
    """Return the files of a copy, and its links without what they lead to."""
    return sorted(
        str(Path(parent, name).relative_to(copy))
        for parent, folders, files in os.walk(copy)
        for name in files + [each for each in folders if Path(parent, each).is_symlink()]
    )


def test_a_program_finds_all_its_files_in_the_copy_and_no_others(tmp_path: Path) -> None:
    source, runs = tmp_path / "source", tmp_path / "runs"
    mine = ("train.py", "vocab.bpe", "conf/a.json", "native.so", "run.sh", ".hidden.toml")
    _write(source, *mine, "empty/deep/LICENSE")
    _write(source, ".git/HEAD", "__pycache__/train.pyc", "old.pyc", "env/pyvenv.cfg", "env/x.py")
    _write(
        source, "launch.log", "nohup.out", "wconv_alone/0.8/checkpoint.pt", "wconv_runs/sweep.db"
    )
    (source / "own.yaml").write_text("schema: 1\nstudy: own\n", "utf-8")
    RunFolder.of(source / "other", "own").create("1")  # of --runs other
    _write(source / "other", "sweep.db", "storage.pgpass", "own/trial_00000/checkpoint.pt")
    (source / "gone").symlink_to("nowhere")
    os.mkfifo(source / "pipe")
    (source / "run.sh").chmod(0o700)

    copy = freeze_modules(source, runs, PROGRAM_RULE)

    assert _copied(copy) == sorted([*mine, "empty/deep/LICENSE"])
    assert stat.S_IMODE((copy / "run.sh").stat().st_mode) == 0o700


def test_an_edit_after_the_launch_does_not_reach_the_copy_and_shows(tmp_path: Path) -> None:
    source, runs = tmp_path / "source", tmp_path / "runs"
    _write(source, "train.py", "vocab.bpe")
    before = modules_sha256(source, rule=PROGRAM_RULE)
    copy = freeze_modules(source, runs, PROGRAM_RULE)

    _write(source, "written/later.bin")
    assert modules_sha256(source, runs, PROGRAM_RULE) == before
    (source / "vocab.bpe").write_text("edited")

    assert (copy / "vocab.bpe").read_text() == "vocab.bpe"
    assert modules_sha256(copy, runs, PROGRAM_RULE) == before
    assert modules_sha256(source, runs, PROGRAM_RULE) != before


def test_large_files_and_links_to_folders_are_links_in_the_copy(tmp_path: Path) -> None:
    source, runs, scratch = tmp_path / "source", tmp_path / "runs", tmp_path / "scratch"
    _write(scratch, "a.png")
    _write(source, "train.py", "conf/v2/a.json", "images/1.png", "shared.py")
    (source / "data").symlink_to(scratch)
    (source / "conf/latest").symlink_to("v2")
    (source / "linked.py").symlink_to("shared.py")
    _large(source / "weights.pt")
    rule = CodeRule(is_program=True, linked=("images/",))

    copy = freeze_modules(source, runs, rule)
    again = freeze_modules(source, runs, rule)

    assert again == copy
    assert (copy / "data/a.png").read_text() == "a.png"
    assert (copy / "weights.pt").resolve() == source / "weights.pt"
    assert (copy / "images").resolve() == source / "images"
    # What a link inside leads to is copied, as is a file behind a link.
    assert (copy / "conf/latest").resolve() == copy / "conf/v2"
    assert not (copy / "linked.py").is_symlink()
    assert modules_sha256(copy, rule=rule) == modules_sha256(source, rule=rule)
    assert rule.unnamed_links(source) == [
        "conf/latest (a link to a folder)",
        "data (a link to a folder)",
        "weights.pt (20.0 MB)",
    ]
    (source / "data").unlink()
    (source / "data").symlink_to(source / "conf")
    assert modules_sha256(source, runs, rule) != modules_sha256(copy, rule=rule)


def test_a_folder_of_data_is_refused_with_its_largest_files_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.py").write_text(PROGRAM, "utf-8")
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(STUDY), "utf-8")
    _write(tmp_path, *(f"data/images/{number}.png" for number in range(MAX_FILES)))
    (tmp_path / "data/images/7.png").write_bytes(b"0" * 1_500_000)

    status, _, errors = run(monkeypatch, capsys, "studies", "check", str(path))
    trainer = STUDY["trainer"] | {"linked": ["data/images"]}
    path.write_text(yaml.safe_dump(STUDY | {"trainer": trainer}), "utf-8")
    config = load_study(str(path))

    assert status == 2
    assert f"code: {tmp_path} holds {MAX_FILES + 1} files or more, 1.5 MB, but the copy" in errors
    assert f"Most are in data/images ({MAX_FILES}), the largest are data/images/7.png (" in errors
    assert "e.g. `linked: [data/images]`: the copy then only links to it." in errors
    assert config.trainer is not None
    assert config.plain()["trainer"]["linked"] == ["data/images"]


def test_too_large_files_are_refused_together(tmp_path: Path) -> None:
    for number in range(6):
        with (tmp_path / f"part{number}.bin").open("wb") as file:
            file.truncate(MAX_PROGRAM_FILE_BYTES)

    with pytest.raises(ConfigurationError, match=r"120\.0 MB, but .* 100\.0 MB\..*part0\.bin"):
        modules_sha256(tmp_path, rule=PROGRAM_RULE)


def test_a_launch_tells_what_its_copy_only_links_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.py").write_text(PROGRAM, "utf-8")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(STUDY), "utf-8")
    _large(tmp_path / "weights.pt")
    monkeypatch.chdir(tmp_path)
    launch = ("launch", "--cluster", "local", "--study", "own.yaml", "--dry-run")

    _, _, errors = run(monkeypatch, capsys, *launch)
    named = run(monkeypatch, capsys, *launch, "--set", "trainer.linked=['*.pt']")[2]

    assert "warning: code: the copy only links to weights.pt (20.0 MB): do not change" in errors
    assert "only links" not in named
