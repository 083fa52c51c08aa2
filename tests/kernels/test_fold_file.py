"""The file of a trained network becomes that of a plain one, which the user's function scores."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wconv_kernels import replace_convolutions
from wconv_kernels.errors import WeightsError
from wconv_kernels.fold_file import fold_file, read_weights

PARTS = """
import torch
from torch import nn

IMAGE = torch.arange(100.0, dtype=torch.float64).view(1, 1, 10, 10)


def network(width=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, 1, 1))


def score(network, *, gain, seed):
    assert not network.training
    kinds = {type(layer).__name__ for layer in network}
    assert kinds == {"Conv2d", "ReLU"}, kinds
    return {"test_sum": gain * seed * network(IMAGE).sum().item()}


def nothing(network):
    return None


def number():
    return 1


def wider():
    return network(3)
"""


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The user's module with its functions."""
    (tmp_path / "parts_to_fold.py").write_text(PARTS, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import parts_to_fold  # type: ignore[import-not-found]

    yield parts_to_fold
    del sys.modules["parts_to_fold"]


def _trained(parts: Any, density: tuple[float, ...] = (0.5,)) -> nn.Module:
    network: nn.Module = parts.network().double()
    replace_convolutions(network, density)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)
    return network.eval()


def _fold(folder: Path, weights: Path, **changed: Any) -> dict[str, Any]:
    order: dict[str, Any] = {
        "network": "parts_to_fold:network",
        "score": "parts_to_fold:score",
        "density": [0.5],
        "options": {"gain": 2.0, "lr": 0.1},
        "seeds": {"seed": 3, "long_seed": 4},
    }
    return fold_file(str(weights), str(folder / "folded.pt"), **(order | changed))


@pytest.mark.parametrize("form", ["state_dict", "checkpoint", "of DDP", "safetensors"])
def test_a_network_in_any_usual_file_is_folded_with_its_scores(
    tmp_path: Path, parts: Any, form: str
) -> None:
    from safetensors.torch import save_file

    network = _trained(parts)
    state: dict[str, Any] = network.state_dict()
    file = tmp_path / ("net.safetensors" if form == "safetensors" else "net.pt")
    if form == "checkpoint":
        optimizer = torch.optim.Adam(network.parameters())
        state = {"model": state, "optimizer": optimizer.state_dict(), "epochs": 3}
    elif form == "of DDP":
        state = {f"module.{name}": value for name, value in state.items()}
    if form == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file)

    found = _fold(tmp_path, file)

    plain = parts.network()
    plain.load_state_dict(torch.load(tmp_path / "folded.pt", weights_only=True), assign=True)
    assert plain[0].weight.dtype == torch.float64
    assert torch.equal(plain(parts.IMAGE), network(parts.IMAGE))
    assert found == {
        "scores": {"test_sum": 6 * network(parts.IMAGE).sum().item()},
        "arguments": {},
    }


def test_a_network_that_is_plain_already_stays_as_it_is(tmp_path: Path, parts: Any) -> None:
    plain = parts.network().double()
    torch.save(plain.state_dict(), tmp_path / "net.pt")

    _fold(tmp_path, tmp_path / "net.pt")

    folded = torch.load(tmp_path / "folded.pt", weights_only=True)
    assert all(torch.equal(folded[name], value) for name, value in plain.state_dict().items())


class _Runs:
    """What unpickling must not call."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("called"),))


@pytest.mark.parametrize(
    ("content", "changed", "said"),
    [
        ({"model": _Runs()}, {}, "(weights_only=True): WeightsUnpickler error: Unsupp"),
        ({"epochs": 3}, {}, "holds no state_dict. Let the program write"),
        (
            {"model": {"a": torch.ones(1)}, "average": {"a": torch.ones(1)}},
            {},
            "holds several networks (model, average). Let",
        ),
        (None, {"network": "parts_to_fold:wider"}, "does not fit the network of parts_to_fold:"),
        (None, {"network": "parts_to_fold:missing"}, "there is no such function. Correct the"),
        (None, {"network": "not_there:network"}, "not_there:network: cannot be imported: No mod"),
        (None, {"network": "parts_to_fold:number"}, "returned int, not a torch.nn.Module."),
        (None, {"score": "parts_to_fold:nothing"}, "returned NoneType. Return numbers by name"),
    ],
)
def test_what_cannot_be_folded_is_said_in_a_sentence(
    tmp_path: Path,
    parts: Any,
    monkeypatch: pytest.MonkeyPatch,
    content: Any,
    changed: dict[str, str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content or _trained(parts).state_dict(), "net.pt")

    with pytest.raises(WeightsError) as caught:
        _fold(tmp_path, tmp_path / "net.pt", **changed)

    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not Path("called").exists()


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_weights(str(tmp_path / "net.pt"))


def test_a_network_without_weights_is_none(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "net.pt")

    with pytest.raises(WeightsError, match="holds no state_dict"):
        read_weights(str(tmp_path / "net.pt"))
