"""The photographs that come with scikit-image."""

import socket

import pytest
import torch

from wconv_jobs.catalog import names
from wconv_jobs.data import load_data, photographs
from wconv_jobs.errors import JobError
from wconv_jobs.metrics import build_metric


def test_train_validation_and_test_photographs_are_disjoint() -> None:
    parts = (photographs.TRAIN, photographs.VALIDATION, photographs.TEST)

    assert sum(len(part) for part in parts) == len(set().union(*parts))


def test_every_photograph_is_listed_with_its_licence() -> None:
    assert photographs.__doc__ is not None
    licences = dict.fromkeys(photographs.TRAIN + photographs.VALIDATION + photographs.TEST, False)
    for line in photographs.__doc__.splitlines():
        for name in licences:
            if f" {name.split('.')[0]} " in line:
                licences[name] = "CC0" in line or "public domain" in line

    assert all(licences.values())


def test_the_photographs_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    task = load_data("photographs", seed=0)

    shapes = [
        (item.name, *item.target.shape)
        for part in ("validation", "test")
        for item in task.items(part)
    ]
    assert shapes == [("chelsea", 3, 300, 451), ("astronaut", 3, 512, 512)]


def test_the_options_reach_the_task() -> None:
    task = load_data("photographs", seed=0, noise_sigma=0.255, crop_px=16, crops_per_epoch=12)

    noisy_BCHW, target_BCHW = task.train_batch(0, range(4))

    assert task.epoch_samples == 12
    assert target_BCHW.shape == (4, 3, 16, 16)
    # sigma 0.255 grey levels of 255: 3,072 values, standard error 1.3 %
    assert (noisy_BCHW - target_BCHW).std().item() == pytest.approx(0.001, rel=0.06)


def test_the_noisy_input_is_an_estimate_of_about_20_db() -> None:
    task = load_data("photographs", seed=0)
    item = task.items("test")[0]
    psnr_db = build_metric("psnr_db")

    psnr_db.update(item.input_CHW[None], item.target[None])

    # 20 log10(255 / 25) = 20.17
    assert task.input_is_estimate
    assert psnr_db.compute(psnr_db.state()) == pytest.approx(20.17, abs=0.03)
    assert set(task.metrics) <= set(names("metrics"))


def test_crops_as_large_as_the_smallest_photograph_are_the_limit() -> None:
    task = load_data("photographs", seed=0, crop_px=400, crops_per_epoch=6)
    assert task.train_batch(0, range(6))[0].shape == (6, 3, 400, 400)

    with pytest.raises(JobError, match="'crop_px' is 401, but input should be less than or equal"):
        load_data("photographs", seed=0, crop_px=401)


def test_another_seed_gives_other_noise() -> None:
    one, other = (load_data("photographs", seed=seed).items("validation")[0] for seed in (0, 1))

    assert torch.equal(one.target, other.target)
    assert not torch.equal(one.input_CHW, other.input_CHW)
