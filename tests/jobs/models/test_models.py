"""Networks are built by name, and a wrong order is refused with the right one."""

import pytest
import torch

from wconv_jobs.catalog import names, smoke_options
from wconv_jobs.errors import JobError
from wconv_jobs.models import build_model
from wconv_jobs.training.initialization import ResidualDenoiser


@pytest.mark.parametrize("name", names("models"))
def test_every_model_can_be_built_with_its_defaults(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name)

    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", names("models"))
def test_every_parameter_of_every_model_takes_part_in_training(name: str) -> None:
    """DistributedDataParallel raises where one gets no gradient, unless the model says which."""
    model = build_model(name, **smoke_options("models", name))
    px = 64 if isinstance(model, ResidualDenoiser) else 32
    image_BCHW = torch.rand(2, 3, px, px)

    torch.autograd.backward(model(image_BCHW).square().sum())

    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert idle == list(getattr(model, "_ddp_params_and_buffers_to_ignore", ()))


def test_an_unknown_model_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(JobError, match="models: unknown name 'dncm'; did you mean 'dncnn'"):
        build_model("dncm")


def test_all_wrong_options_are_named_at_once() -> None:
    with pytest.raises(JobError) as raised:
        build_model("dncnn", dept=3, width=0)

    assert str(raised.value).splitlines() == [
        "models: dncnn: unknown option 'dept'; did you mean 'depth'? "
        "known: channels, depth, kernel_size, norm, width.",
        "models: dncnn: option 'width' is 0, but input should be greater than or equal to 1.",
    ]
