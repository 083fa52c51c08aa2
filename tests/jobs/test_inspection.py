"""The costs of a network, against a count by hand and a real training step."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from wconv_jobs import own_code
from wconv_jobs.errors import JobError
from wconv_jobs.inspection import inspect_network, memory_bytes, sample_shape
from wconv_jobs.models import build_model, run_eagerly
from wconv_jobs.recipe.optimizer import AdamSpec, SgdSpec
from wconv_jobs.spec import DataSpec, EarlyStoppingSpec, ModelSpec, RecipeSpec, SitesSpec
from wconv_kernels import SiteError

DNCNN = ModelSpec(name="dncnn", options={"depth": 3, "width": 2, "norm": "none"})


def test_the_facts_of_a_small_network_are_those_counted_by_hand() -> None:
    facts = inspect_network(DNCNN, 3, (3, 5, 7))

    # Convolutions 3 -> 2, 2 -> 2 and 2 -> 3 with 9 taps each, and biases.
    weights = 9 * (6 + 4 + 6)
    assert (facts.sites, facts.kernels) == (3, {"3x3": 3})
    assert facts.parameters == weights + 2 + 2 + 3
    assert facts.weighted_parameters == weights
    assert facts.macs == facts.weighted_macs == weights * 5 * 7


def test_signals_in_one_dimension_are_as_good_as_images(tmp_path: Path) -> None:
    source = """
import torch
from torch import nn


def build():
    return nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 2, 3, padding=1))


def load(seed):
    signals, classes = torch.zeros(4, 2, 16), torch.zeros(4, dtype=torch.long)
    return dict.fromkeys(("train", "validation", "test"), (signals, classes))
"""
    (tmp_path / "signals_1d.py").write_text(source, "utf-8")

    with own_code.folder_added(tmp_path):
        shape = sample_shape(DataSpec(name="signals_1d:load", kind="classification"))
        facts = inspect_network(ModelSpec(name="signals_1d:build"), 3, shape)

    assert shape == (2, 16)
    assert facts.kernels == {"3": 2}
    assert facts.macs == facts.weighted_macs == (2 * 4 + 4 * 2) * 3 * 16


def test_convolutions_of_other_sizes_and_linear_layers_count_as_work_but_not_as_sites() -> None:
    facts = inspect_network(ModelSpec(name="nin"), 3, (3, 32, 32))

    assert facts.kernels == {"3x3": 3, "1x1": 6}
    assert facts.macs == pytest.approx(138.7e6, rel=1e-3)
    assert facts.weighted_macs / facts.macs == pytest.approx(0.5, abs=0.005)


def test_the_activations_are_those_that_a_real_step_keeps() -> None:
    facts = inspect_network(DNCNN, 3, (3, 8, 8))
    model = build_model("dncnn", **DNCNN.options)
    own = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(torch.zeros(4, 3, 8, 8))

    assert output.requires_grad
    total = sum(tensor.nbytes for pointer, tensor in kept.items() if pointer not in own)
    assert facts.activation_bytes == total / 4


def _recipe(**values: object) -> RecipeSpec:
    defaults: dict[str, object] = {
        "optimizer": AdamSpec(name="adam", lr=0.1),
        "epochs": 1,
        "batch_size": 8,
    }
    return RecipeSpec.model_validate(defaults | values)


def test_the_memory_counts_weights_gradients_states_and_activations() -> None:
    facts = inspect_network(DNCNN, 3, (3, 8, 8))
    all_bytes, raw_bytes = 4 * facts.parameters, 4 * facts.weighted_parameters
    batch_bytes = 8 * facts.activation_bytes

    adam = memory_bytes(facts, _recipe(), 1)
    sgd = memory_bytes(facts, _recipe(optimizer=SgdSpec(name="sgd", lr=0.1)), 1)
    momentum = SgdSpec(name="sgd", lr=0.1, momentum=0.9)
    stopping = EarlyStoppingSpec(patience=1)

    assert adam == 4 * all_bytes + raw_bytes + batch_bytes
    assert sgd == 2 * all_bytes + raw_bytes + batch_bytes
    assert memory_bytes(facts, _recipe(optimizer=momentum), 1) == sgd + all_bytes
    assert memory_bytes(facts, _recipe(early_stopping=stopping), 1) == adam + all_bytes
    assert memory_bytes(facts, _recipe(dtype="float64"), 1) == 2 * adam
    assert memory_bytes(facts, _recipe(), 2) == adam + all_bytes - batch_bytes // 2


def test_a_density_without_a_convolution_is_refused() -> None:
    with pytest.raises(SiteError, match="kernel size 5 finds no convolution"):
        inspect_network(DNCNN, 5, (3, 8, 8))


def test_a_sample_that_the_network_does_not_take_is_refused() -> None:
    with pytest.raises(JobError):
        inspect_network(ModelSpec(name="cgnet", options={"width": 8}), 3, (3, 32, 32))


ODD = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Conv2d(1, width, 3, padding=1)
        self.scale = torch.linspace(0, 1, 5).sum().item()

    def forward(self, x):
        y = self.layer(x)
        return y if y.mean() > -100 else -y


def build(width=2):
    print("building")
    return Net(width)


def numpy():
    torch.zeros(2).numpy()
    return Net(2)


def gpu():
    raise RuntimeError("Found no NVIDIA driver on your system.\\nSecond line")


GRAPHS = []

def backend(graph, inputs):
    GRAPHS.append(graph)
    return graph.forward

def two(first=nn.Conv2d, second=nn.Conv2d):
    return nn.Sequential(first(1, 1, 3, padding=1), second(1, 1, 3, padding=1))

def compiled():
    return torch.compile(two(), backend=backend)

def parallel():
    return nn.DataParallel(nn.DataParallel(two()))

class Standardized(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)

def standardized():
    return two(second=Standardized)

def normed():
    net = two()
    nn.utils.parametrizations.spectral_norm(net[0])
    return net

def pair():
    class Pair(Net):
        def forward(self, x):
            return super().forward(x), x
    return Pair(2)
"""


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[str]:
    name = f"odd_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(ODD, "utf-8")
    with own_code.folder_added(tmp_path):
        yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("function", ["build", "numpy"])
def test_a_network_that_looks_at_numbers_is_built_on_the_cpu(
    odd: str, function: str, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = inspect_network(ModelSpec(name=f"{odd}:{function}"), 3, (1, 5, 7))

    assert facts.macs == 2 * 9 * 5 * 7
    assert facts.parameters == 2 * 9 + 2
    assert capsys.readouterr().out == ""


def test_no_exception_of_a_network_is_a_traceback(odd: str) -> None:
    with pytest.raises(JobError) as error:
        inspect_network(ModelSpec(name=f"{odd}:gpu"), 3, (1, 5, 7))

    assert str(error.value).startswith(
        f"{odd}:gpu cannot be built and tried on a CPU with samples of shape (1, 5, 7): "
        f"RuntimeError: Found no NVIDIA driver on your system [{odd}.py, line "
    )


def test_a_network_that_returns_no_tensor_is_found_before_the_launch(odd: str) -> None:
    with pytest.raises(JobError, match="the network returns a tuple of 2 when training"):
        inspect_network(ModelSpec(name=f"{odd}:pair"), 3, (1, 5, 7))


def test_the_layer_in_the_way_is_named_with_the_key_of_the_study_that_leaves_it_out(
    odd: str,
) -> None:
    for function, layer in (("standardized", "1"), ("normed", "0")):
        with pytest.raises(SiteError) as error:
            inspect_network(ModelSpec(name=f"{odd}:{function}"), 3, (1, 5, 7))

        remedy = f'leave it out with `sites: {{exclude: ["{layer}"]}}` in the study'
        assert remedy in str(error.value)

        where = SitesSpec(exclude=[layer])
        facts = inspect_network(ModelSpec(name=f"{odd}:{function}"), 3, (1, 5, 7), where)

        assert (facts.sites, facts.left_plain) == (1, (layer,))


@pytest.mark.parametrize("function", ["compiled", "parallel"])
def test_what_wraps_a_network_does_not_change_its_names(odd: str, function: str) -> None:
    network = build_model(f"{odd}:{function}")
    facts = inspect_network(ModelSpec(name=f"{odd}:{function}"), 3, (1, 5, 7))

    assert list(network.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert facts.sites == 2


def test_a_network_that_its_builder_compiles_is_trained_compiled(odd: str) -> None:
    network = build_model(f"{odd}:compiled")
    module = sys.modules[odd]

    output = network(torch.ones(1, 1, 3, 3))
    run_eagerly(network)

    assert len(module.GRAPHS) == 1
    assert torch.equal(output, network(torch.ones(1, 1, 3, 3)))
    assert len(module.GRAPHS) == 1


def test_volumes_are_as_good_as_images_but_for_the_metrics_of_images(tmp_path: Path) -> None:
    source = """
import torch
from torch import nn


def build():
    return nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv3d(2, 1, 3, padding=1))


def load(targets):
    volumes = torch.zeros(4, 1, 4, 5, 6)
    targets = volumes if targets == "volumes" else torch.zeros(4, dtype=torch.long)
    return dict.fromkeys(("train", "validation", "test"), (volumes, targets))
"""
    (tmp_path / "volumes_3d.py").write_text(source, "utf-8")

    with own_code.folder_added(tmp_path):
        options: dict[str, Any] = {"targets": "classes"}
        shape = sample_shape(
            DataSpec(name="volumes_3d:load", kind="classification", options=options)
        )
        facts = inspect_network(ModelSpec(name="volumes_3d:build"), 3, shape)

        options = {"targets": "volumes"}
        with pytest.raises(JobError, match=r"shape \(4, 1, 4, 5, 6\), .* compare images") as error:
            sample_shape(DataSpec(name="volumes_3d:load", kind="denoising", options=options))

    assert "Give planes of volumes as images" in str(error.value)
    assert shape == (1, 4, 5, 6)
    assert facts.kernels == {"3x3x3": 2}
    assert facts.macs == facts.weighted_macs == 2 * (1 * 2) * 27 * 4 * 5 * 6
