"""Evaluation: every item counts once, on any number of ranks."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.jobs.ranks import rank_doubles
from tests.jobs.trials import Recorder, classification, denoising
from wconv_jobs.artifacts.test_images import restored
from wconv_jobs.data import load_data
from wconv_jobs.messages import Demand, Finished
from wconv_jobs.ranks import rank_process
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.ranks.run import run_ranks
from wconv_jobs.training.evaluation import evaluate, evaluate_input
from wconv_jobs.training.loop import LONE_PROCESS
from wconv_jobs.training.world import World


def test_the_accuracy_is_that_of_a_count_by_hand(tmp_path: Path) -> None:
    task, model = rank_doubles.task_and_network(classification(tmp_path))
    model.eval()
    items = len(task.names("validation"))
    hits, losses = 0, []
    with torch.no_grad():
        for number in range(items):
            ((input_BCHW, class_B),) = task.evaluation_batches(
                "validation", range(number, number + 1)
            )
            logits_BK = model(input_BCHW.double())
            hits += int(logits_BK.argmax()) == int(class_B)
            losses.append(-float(logits_BK.log_softmax(1)[0, int(class_B)]))

    model.train()
    metrics = evaluate(model, task, "validation", LONE_PROCESS)

    assert items == 47
    assert metrics["accuracy"] == hits / 47
    assert metrics["loss"] == pytest.approx(sum(losses) / 47, rel=1e-12)
    assert not model.training


def test_an_evaluation_changes_neither_weights_nor_buffers(tmp_path: Path) -> None:
    task, model = rank_doubles.task_and_network(classification(tmp_path))
    before = {name: value.clone() for name, value in model.state_dict().items()}

    evaluate(model, task, "validation", LONE_PROCESS)

    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class _KeepsConstants(nn.Module):
    """Makes what it needs of a batch in its first forward, as many networks do."""

    grid: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.scale = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.register_buffer("grid", None)
        self.ramp: Tensor | None = None
        self.factor: Tensor | None = None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.grid is None or self.ramp is None or self.factor is None:
            self.grid = torch.linspace(0, 1, x_BCHW.shape[1])[:, None, None]
            self.ramp = torch.linspace(1, 2, x_BCHW.shape[1])[:, None, None]
            self.factor = self.scale.exp()
        y_BCHW: Tensor = self.conv(x_BCHW) * self.grid * self.ramp * self.factor
        return y_BCHW


@pytest.mark.parametrize("images", [None, 1], ids=["evaluation", "test images"])
def test_a_network_that_keeps_constants_can_be_trained_after_an_evaluation(
    tmp_path: Path, images: int | None
) -> None:
    # An attempt that resumes at the end of an epoch or in a validation begins with it.
    task = load_data("photographs", seed=0, device="cpu", **denoising(tmp_path).data.options)
    network = _KeepsConstants()
    if images is None:
        evaluate(network, task, "validation", LONE_PROCESS)
    else:
        restored(network, task, images)

    inputs_BCHW, targets_BCHW = task.train_batch(0, range(2))
    network.train()
    torch.autograd.backward((network(inputs_BCHW) - targets_BCHW).square().mean())

    assert network.conv.weight.grad is not None


def test_the_unprocessed_input_has_the_psnr_of_its_noise(tmp_path: Path) -> None:
    # MSE of noise with sigma = 25 / 255: PSNR = 20 log10(255 / 25) = 20.17 dB.
    task = load_data("photographs", seed=0, device="cpu", **denoising(tmp_path).data.options)

    metrics = evaluate_input(task, "test", LONE_PROCESS)

    assert metrics["psnr_db"] == pytest.approx(20.172, abs=0.02)


@pytest.mark.slow
def test_an_odd_number_of_items_on_two_ranks_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = classification(tmp_path)
    task, model = rank_doubles.task_and_network(spec)
    alone = evaluate(model, task, "validation", LONE_PROCESS)
    monkeypatch.setattr(rank_process, "main", rank_doubles.evaluates)

    result = run_ranks(
        spec,
        placement=Placement(2),
        log_folder=tmp_path / "logs",
        on_report=Recorder(),
        on_tick=lambda: Demand.GO,
    )

    assert isinstance(result, Finished)
    other = json.loads((tmp_path / "metrics-1.json").read_text())
    for metrics in (result.metrics, other):
        assert metrics["accuracy"] == alone["accuracy"]
        assert metrics == pytest.approx(alone, rel=1e-12)


@pytest.mark.gpu
def test_the_gpu_finds_the_accuracy_of_the_cpu(tmp_path: Path) -> None:
    on_cpu, on_gpu = (
        rank_doubles.task_and_network(classification(tmp_path), device)
        for device in ("cpu", "cuda:0")
    )
    world = World(rank=0, size=1, device=torch.device("cuda", 0))
    expected = evaluate(on_cpu[1], on_cpu[0], "validation", LONE_PROCESS)

    metrics = evaluate(on_gpu[1], on_gpu[0], "validation", world)

    assert metrics == pytest.approx(expected, rel=1e-9)
