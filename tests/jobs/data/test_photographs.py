"""The photographs that come with scikit-image."""

import socket

import pytest
import torch

from wconv_jobs.catalog import default_of, names, sample_shape, smoke_options
from wconv_jobs.data import load_data, photographs
from wconv_jobs.errors import JobError
from wconv_jobs.metrics import build_metric
from wconv_jobs.tasks.task import Part


def test_train_validation_and_test_photographs_are_disjoint() -> None:
    parts = (photographs.TRAIN, photographs.VALIDATION, photographs.TEST)

    assert sum(len(part) for part in parts) == len(set().union(*parts))


def test_every_photograph_is_listed_with_its_license() -> None:
    assert photographs.__doc__ is not None
    licenses = dict.fromkeys(photographs.TRAIN + photographs.VALIDATION + photographs.TEST, False)
    for line in photographs.__doc__.splitlines():
        for name in licenses:
            if f" {name.split('.')[0]} " in line:
                licenses[name] = "CC0" in line or "public domain" in line

    assert all(licenses.values())


def test_the_photographs_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    task = load_data("photographs", seed=0)

    parts: tuple[Part, Part] = ("validation", "test")
    shapes = [
        (*task.names(part), *target_BCHW.shape)
        for part in parts
        for _, target_BCHW in task.evaluation_batches(part, range(1))
    ]
    assert shapes == [("chelsea", 1, 3, 300, 451), ("astronaut", 1, 3, 512, 512)]


def test_the_options_reach_the_task() -> None:
    task = load_data("photographs", seed=0, noise_sigma=0.255, crop_px=16, crops_per_epoch=12)

    noisy_BCHW, target_BCHW = task.train_batch(0, range(4))

    assert task.epoch_samples == 12
    assert target_BCHW.shape == (4, 3, 16, 16)
    # sigma 0.255 gray levels of 255: 3,072 values, standard error 1.3 %
    assert (noisy_BCHW - target_BCHW).std().item() == pytest.approx(0.001, rel=0.06)


def test_the_noisy_input_is_an_estimate_of_about_20_db() -> None:
    task = load_data("photographs", seed=0)
    psnr_db = build_metric("psnr_db")

    for noisy_BCHW, target_BCHW in task.evaluation_batches("test", range(1)):
        psnr_db.update(noisy_BCHW, target_BCHW)

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
    one, other = (
        next(iter(load_data("photographs", seed=seed).evaluation_batches("validation", range(1))))
        for seed in (0, 1)
    )

    assert torch.equal(one[1], other[1])
    assert not torch.equal(one[0], other[0])


def test_the_shape_of_a_sample_follows_the_default_of_load() -> None:
    assert sample_shape("photographs", {}) == (3, 48, 48)
    assert default_of("data", "photographs", "crop_px") == 48
    assert sample_shape("photographs", smoke_options("data", "photographs")) == (3, 64, 64)
