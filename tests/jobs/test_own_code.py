"""A study may name functions of the user's: they are found, checked unrun, and called."""

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from wconv_jobs import own_code
from wconv_jobs.data import load_task
from wconv_jobs.errors import JobError
from wconv_jobs.models import build_model
from wconv_jobs.spec import DataSpec
from wconv_jobs.tasks.tensors import TensorTask

SOURCE = """
import torch
from torch import nn


def build(*, width=4, depth):
    return nn.Sequential(nn.Conv2d(1, width, 3, padding=1), *[nn.ReLU()] * depth)


def anything(**options):
    return options


def load(*, seed, samples=6):
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(samples, 1, 8, 8, generator=generator)
    return {part: (clean + 0.1, clean) for part in ("train", "validation", "test")}


def classes(seed):
    images = torch.zeros(5, 1, 4, 4)
    return {part: (images, torch.arange(5)) for part in ("train", "validation", "test")}


def raising():
    raise RuntimeError("on purpose")


def lazy():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.LazyBatchNorm2d())


def no_longer_lazy():
    network = lazy()
    network(torch.zeros(2, 1, 5, 5))
    return network


def leaving(status="set MODEL_DIR first"):
    import sys
    sys.exit(status)


class Network(nn.Module):
    pass
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[str]:
    """Write a module of the user's into a folder that can be imported from."""
    name = f"mine_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(SOURCE, "utf-8")
    with own_code.folder_added(tmp_path):
        yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("function", "options", "problem"),
    [
        ("build", {"depth": 1, "width": 2}, None),
        ("build", {}, "option 'depth' is missing, and it has no default."),
        ("build", {"depth": 1, "hight": 2}, "unknown option 'hight'; known: depth, width."),
        ("anything", {"whatever": 1}, None),
        ("classes", {"seed": 1}, "option 'seed' is given by the program."),
        ("buld", {}, "has no function 'buld'; did you mean 'build'?"),
        ("torch", {}, None),  # an import, which only a call can tell
        ("Network", {}, None),
    ],
)
def test_options_are_checked_against_the_source_and_nothing_is_run(
    module: str, function: str, options: dict[str, object], problem: str | None
) -> None:
    found = own_code.problems(f"{module}:{function}", options, {"seed", "device"})

    assert module not in sys.modules
    if problem is None:
        assert found == []
    else:
        (text,) = found
        assert problem in text


@pytest.mark.parametrize("name", ["a:", ":b", "a b:c", "a:b:c", "a:b.c", "../a:b", "a-b:c"])
def test_a_name_that_names_no_function_is_refused(name: str) -> None:
    assert own_code.problems(name, {}) == [
        f"{name!r}: a function of your own is named package.module:function."
    ]


def test_modules_that_are_missing_or_broken_are_told(tmp_path: Path) -> None:
    (tmp_path / "torn.py").write_text("def f(:", "utf-8")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed/__init__.py").write_text("raise RuntimeError('no luck')", "utf-8")
    with own_code.folder_added(tmp_path):
        assert "there is no module nowhere" in own_code.problems("nowhere:f", {})[0]
        assert "cannot be read as Python" in own_code.problems("torn:f", {})[0]
        assert "RuntimeError: no luck" in own_code.problems("packed.inner:f", {})[0]


def test_a_folder_stays_behind_everything_that_is_installed(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("", "utf-8")

    with own_code.folder_added(tmp_path):
        assert sys.path[-1] == str(tmp_path)
    assert str(tmp_path) not in sys.path


def test_a_network_of_the_users_is_built_with_its_options(module: str) -> None:
    network = build_model(f"{module}:build", depth=2, width=3)

    assert isinstance(network, nn.Sequential)
    assert network[0].weight.shape == (3, 1, 3, 3)
    with pytest.raises(JobError, match=r"returned dict, not a torch\.nn\.Module"):
        build_model(f"{module}:anything")
    with pytest.raises(RuntimeError, match="on purpose"):
        build_model(f"{module}:raising")


def test_a_layer_without_its_shape_is_named(module: str) -> None:
    with pytest.raises(JobError) as error:
        build_model(f"{module}:lazy")

    assert str(error.value) == (
        f"{module}:lazy: layer '1' (LazyBatchNorm2d) takes its shape from the first batch, but "
        "its weights are drawn before. Pass a batch through the network before you return it, or "
        "name the sizes."
    )
    build_model(f"{module}:no_longer_lazy")


def test_data_of_the_users_become_a_task_that_gets_the_seed(module: str) -> None:
    spec = DataSpec(name=f"{module}:load", kind="denoising")
    one, again, other = (load_task(spec, seed=seed) for seed in (1, 1, 2))

    assert one.epoch_samples == 6
    inputs, targets = one.train_batch(0, range(6))
    assert torch.equal(inputs, targets + 0.1)
    assert torch.equal(inputs, again.train_batch(0, range(6))[0])
    assert not torch.equal(inputs, other.train_batch(0, range(6))[0])
    assert one.classes is None
    assert one.input_is_estimate
    with pytest.raises(JobError, match="returned list, not a data set"):
        load_task(DataSpec(name="builtins:list", kind="denoising"), seed=0)


def test_every_sample_is_shown_once_in_an_epoch_and_the_order_changes(module: str) -> None:
    task = load_task(DataSpec(name=f"{module}:classes", kind="classification"), seed=3)

    orders = [task.train_batch(epoch, range(5))[1].tolist() for epoch in (0, 1, 0)]

    assert sorted(orders[0]) == sorted(orders[1]) == [0, 1, 2, 3, 4]
    assert orders[0] == orders[2] != orders[1]
    assert task.classes == 5
    shares = [task.train_batch(0, range(rank, 5, 2))[1].tolist() for rank in (0, 1)]
    assert shares == [orders[0][0::2], orders[0][1::2]]


IMAGES, CLASSES = torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("pair", "problem"),
    [
        (None, "train is not a pair of tensors"),
        ((IMAGES, [0, 1]), "train is not a pair of tensors"),
        ((IMAGES, CLASSES[:1]), "train has 2 inputs and 1 targets"),
        ((IMAGES[:0], CLASSES[:0]), "train has 0 inputs and 0 targets"),
        ((IMAGES.to(torch.uint8), CLASSES), "inputs of torch.uint8"),
        ((IMAGES, CLASSES - 1), "not class labels"),
        ((IMAGES, IMAGES), "not class labels"),
    ],
)
def test_tensors_of_another_form_are_refused(pair: object, problem: str) -> None:
    parts = {"train": pair, "validation": (IMAGES, CLASSES), "test": (IMAGES, CLASSES)}

    with pytest.raises(JobError, match=problem):
        TensorTask(parts, kind="classification", seed=0, device="cpu")  # type: ignore[arg-type]


def test_the_loss_is_that_of_the_kind() -> None:
    parts = dict.fromkeys(("train", "validation", "test"), (IMAGES, CLASSES))
    task = TensorTask(parts, kind="classification", seed=0, device="cpu")
    images = dict.fromkeys(("train", "validation", "test"), (IMAGES, IMAGES + 1))
    denoising = TensorTask(images, kind="denoising", seed=0, device="cpu")

    # Two equal logits: cross-entropy ln 2.
    loss = task.loss(torch.zeros(2, 2), CLASSES, label_smoothing=0.0)
    assert float(loss) == pytest.approx(0.6931472)
    assert float(denoising.loss(IMAGES, IMAGES + 1, label_smoothing=0.0)) == 1.0
    with pytest.raises(JobError, match="need logits"):
        task.loss(torch.zeros(2, 1), CLASSES, label_smoothing=0.0)
    with pytest.raises(JobError, match="for targets of"):
        denoising.loss(IMAGES[:1], IMAGES, label_smoothing=0.0)


@pytest.mark.parametrize(
    ("status", "words"), [("set MODEL_DIR first", "set MODEL_DIR first"), (3, "exit status 3")]
)
def test_a_function_that_ends_the_program_is_named_with_what_it_said(
    module: str, status: str | int, words: str
) -> None:
    with pytest.raises(JobError) as error:
        own_code.call(f"{module}:leaving", {"status": status}, {})

    assert str(error.value).startswith(
        f"{module}:leaving has ended the program ({words} [{module}"
    )
    assert str(error.value).endswith("]). Let it return, or raise an error.")


def test_a_module_may_parse_its_arguments_and_choose_how_processes_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"parses_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(
        "import argparse, multiprocessing\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--width', type=int, default=7)\n"
        "WIDTH = parser.parse_args().width\n"
        "multiprocessing.set_start_method('spawn')\n"
        "def build(): return WIDTH\n"
    )
    monkeypatch.setattr(sys, "argv", ["wconv-sweep", "launch", "--study", "x.yaml"])
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("forkserver", force=True)  # as in a rank
    try:
        with own_code.folder_added(tmp_path):
            assert own_code.call(f"{name}:build", {}, {}) == 7
        assert multiprocessing.get_start_method() == "spawn"
        assert sys.argv[1:] == ["launch", "--study", "x.yaml"]
    finally:
        multiprocessing.set_start_method(before, force=True)
        sys.modules.pop(name, None)


def test_the_line_of_the_users_own_code_stands_beside_what_it_raised(module: str) -> None:
    with pytest.raises(RuntimeError) as error:
        own_code.call(f"{module}:raising", {}, {})

    line = SOURCE.splitlines().index('    raise RuntimeError("on purpose")') + 1
    assert own_code.words(error.value) == f"RuntimeError: on purpose [{module}.py, line {line}]"
