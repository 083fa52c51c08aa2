"""The exported network is the trained one: stock layers, the same score, loadable by its card."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from tests.sweep.searching import launched, study_of
from tests.sweep.tiny import StudyFile, Sweep
from wconv_jobs.spec import CHECKPOINT_FILE
from wconv_jobs.training.checkpoint import FORMAT
from wconv_sweep.errors import ConfigurationError, SweepFailed
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.results.export.reproduced import check_reproduced
from wconv_sweep.results.export.weights import weight_files
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.trainer import TrainerSpec, WeightsSpec


@pytest.mark.slow
def test_the_trained_network_is_exported_scored_again_and_loaded_as_its_card_says(
    sweep: Sweep, study_file: StudyFile
) -> None:
    path = study_file(budget={"trials": 2})
    sweep.run("launch", "--cluster", "local", "--study", str(path))
    sweep.run("export", "--weights", "networks")
    folder = sweep.folder / "networks/tiny"
    card = (folder / "README.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    script = block + "\nprint(sorted({type(layer).__name__ for layer in network.modules()}))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )

    rows = dict(re.findall(r"\| (test_\w+) \| (.*) \|", card))
    this, recorded, plain = rows["test_psnr_db"].split(" | ")
    assert this == recorded != ""
    assert plain != ""
    assert loaded.stdout == "['Conv2d', 'DnCNN', 'ReLU', 'Sequential']\n"
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata()["study"] == "tiny"
    with Image.open(folder / "before_after_1.png") as before_after:
        width, height = before_after.size
    assert width == 3 * height == 3 * 512


@pytest.mark.slow
def test_a_network_that_does_not_reproduce_its_score_is_not_written(
    sweep: Sweep, study_file: StudyFile
) -> None:
    path = study_file(budget={"trials": 1})
    sweep.run("launch", "--cluster", "local", "--study", str(path))
    _change_weights(sweep.folder / "wconv_runs/tiny/trial_00000/checkpoint.pt")

    refused = sweep.run("export", "--weights", "networks", status=1)
    (sweep.folder / "wconv_runs/tiny/trial_00000/checkpoint.pt").unlink()
    missing = sweep.run("export", "--weights", "networks", status=2)

    assert re.search(r"test_psnr_db of \S+, but trial 0 had \S+\. Nothing was written", refused)
    assert "checkpoint.pt: does not exist" in missing
    # To delete it, as a trial that goes on is told, would not bring this network back.
    assert "A completed trial is not trained again" in missing
    assert "Delete it" not in missing
    assert not (sweep.folder / "networks").exists()


@pytest.mark.parametrize(
    ("content", "problem", "remedy"),
    [
        (None, "does not exist", "restore the file"),
        (b"PK", "cannot be read", "restore the file"),
        (
            {"format": 1, "trial": "it"},
            "was written by another version of the program",
            "export with the version that trained it (the study began with {})",
        ),
        (
            {"format": FORMAT, "trial": "another"},
            "belongs to a trial with another model",
            "restore this trial's own file",
        ),
    ],
    ids=["missing", "torn", "another version", "another trial"],
)
def test_each_checkpoint_that_cannot_be_exported_has_its_remedy(
    sqlite_storage: Storage,
    tmp_path: Path,
    content: bytes | dict[str, object] | None,
    problem: str,
    remedy: str,
) -> None:
    searcher = launched(sqlite_storage, study_of({"name": "random"}, trials=3))
    searcher.train(searcher.lease())
    status = read_status(sqlite_storage, "tiny")
    path = status.folder.trial(0) / CHECKPOINT_FILE
    path.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)

    with pytest.raises(ConfigurationError) as caught:
        weight_files(sqlite_storage, status, tmp_path)

    assert f"{path}: " in str(caught.value)
    assert problem in str(caught.value)
    assert str(caught.value).endswith(
        f". A completed trial is not trained again: {remedy.format(status.version)}, or leave "
        "--weights out."
    )


def test_what_a_program_has_named_is_stored_as_given_and_its_card_says_so(
    sqlite_storage: Storage, tmp_path: Path
) -> None:
    tiny = study_of({"name": "random"}, trials=3)
    trainer = TrainerSpec(program="train.py", options={"gain": 2.0}, reports=2)
    searcher = launched(sqlite_storage, tiny.model_copy(update={"trainer": trainer}))
    named = searcher.lease()
    searcher.density_of(named)
    searcher.report(named, 2, 30.0)
    file = {"weights_file": "last/net.bin"}
    searcher.slots.complete(named, {"psnr_db": 30.0, "test_psnr_db": 29.0}, file)
    status = read_status(sqlite_storage, "tiny")
    written = status.folder.trial(0) / "program/last/net.bin"

    with pytest.raises(ConfigurationError, match=r"net.bin: cannot be read \(No such file"):
        weight_files(sqlite_storage, status, tmp_path)
    written.parent.mkdir(parents=True)
    written.write_bytes(b"whatever it is")
    files = weight_files(sqlite_storage, status, tmp_path)
    silent = searcher.lease()
    searcher.density_of(silent)
    searcher.report(silent, 2, 31.0)
    searcher.slots.complete(silent, {"psnr_db": 31.0}, {})

    assert files[tmp_path / "tiny/net.bin"] == b"whatever it is"
    card = files[tmp_path / "tiny/README.md"].decode()
    assert "# train.py of study tiny" in card
    assert "`net.bin` is stored as the program has written it: its density is not folded" in card
    assert "| test_psnr_db | 29 | 29 |" in card
    assert "* options: `{'gain': 2.0}`" in card
    with pytest.raises(ConfigurationError, match=r"has named no weights in trial 1, whose files"):
        weight_files(sqlite_storage, read_status(sqlite_storage, "tiny"), tmp_path)


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("/no/such/python", r"/no/such/python: cannot be started \(No such file or directory\)"),
        ("false", r"trainer.weights: exit status 1. Nothing was written: leave --weights out"),
    ],
)
def test_what_cannot_be_folded_is_not_exported(
    sqlite_storage: Storage, tmp_path: Path, python: str, said: str
) -> None:
    tiny = study_of({"name": "random"}, trials=3)
    weights = WeightsSpec(network="parts:network", score="parts:score")
    trainer = TrainerSpec(program="train.py", reports=2, python=python, weights=weights)
    code = {"trainer": trainer, "code": str(tmp_path)}
    searcher = launched(sqlite_storage, tiny.model_copy(update=code))
    lease = searcher.lease()
    searcher.density_of(lease)
    searcher.report(lease, 2, 30.0)
    searcher.slots.complete(lease, {"psnr_db": 30.0}, {"weights_file": "net.pt"})
    status = read_status(sqlite_storage, "tiny")
    written = status.folder.trial(0) / "program/net.pt"
    written.parent.mkdir(parents=True)
    written.touch()

    with pytest.raises(ConfigurationError, match=said):
        weight_files(sqlite_storage, status, tmp_path)


def test_a_folded_network_must_have_the_score_of_its_trial(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, study_of({"name": "random"}, trials=3))
    lease = searcher.lease()
    searcher.density_of(lease)
    searcher.report(lease, 2, 30.0)
    searcher.slots.complete(lease, {"psnr_db": 30.0, "test_psnr_db": 29.0}, {})
    status = read_status(sqlite_storage, "tiny")
    assert status.result is not None

    check_reproduced(status, status.result.best, {"test_psnr_db": 29.001})
    with pytest.raises(SweepFailed, match="which was not computed again, only test_loss"):
        check_reproduced(status, status.result.best, {"test_loss": 1.0})
    with pytest.raises(SweepFailed, match="has a test_psnr_db of 28, but trial 0 had 29"):
        check_reproduced(status, status.result.best, {"test_psnr_db": 28.0})


def _change_weights(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    for value in content["model"].values():
        value.zero_()
    torch.save(content, path)
