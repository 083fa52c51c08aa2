"""The published values agree with each other and with what the paper says of them."""

import math
from dataclasses import asdict
from statistics import mean

import pytest

from wconv_sweep.results.report.paper import (
    PUBLISHED,
    ClassificationScores,
    DenoisingScores,
    Published,
    published,
)

TABLE_3_AND_4 = [row for row in PUBLISHED if row.data == "cifar100"]
TABLE_5_AND_6 = [row for row in PUBLISHED if row.data == "div2k"]


def of(data: str, architecture: str, kernel_size: int) -> Published:
    row = published(data, architecture, kernel_size)
    assert row is not None
    return row


def test_a_row_is_found_by_data_network_and_kernel_size_alone() -> None:
    for row in PUBLISHED:
        assert published(row.data, row.architecture, row.kernel_size) is row

    assert published("div2k", "dncnn", 7) is None
    assert published("photographs", "dncnn", 3) is None
    assert published("cifar100", "efficientnet_b0", 3) is None


def test_the_rows_stand_in_the_order_of_the_tables() -> None:
    assert [row.title for row in TABLE_3_AND_4] == ["ResNet56", "VGG", "NiN", "gMLP", "GAC-SNN"]
    assert [(row.title, row.kernel_size) for row in TABLE_5_AND_6] == [
        (title, size) for size in (3, 5) for title in ("DnCNN", "NAFNet", "CGNet")
    ]


def test_the_best_densities_have_one_coefficient_per_ring() -> None:
    assert [row.density for row in TABLE_3_AND_4] == [(1.15,), (0.75,), (0.9,), (0.95,), (0.8,)]
    assert [row.density for row in TABLE_5_AND_6] == [
        (0.8,),
        (0.7,),
        (0.8,),
        (0.1, 0.9),
        (0.5, 0.9),
        (0.6, 0.9),
    ]
    assert all(row.kernel_size == 2 * len(row.density) + 1 for row in PUBLISHED)


def test_the_overheads_are_those_of_the_times() -> None:
    overheads = [row.times.overhead_percent for row in TABLE_3_AND_4]

    assert [round(overhead, 1) for overhead in overheads] == [6.4, 9.5, 5.5, 3.7, 10.2]
    assert round(mean(overheads), 1) == 7.1


def test_denoising_takes_one_to_three_percent_longer() -> None:
    overheads = [row.times.overhead_percent for row in TABLE_5_AND_6]

    assert all(0.9 < overhead < 3 for overhead in overheads)
    assert round(mean(overheads), 1) == 1.8


def test_larger_kernels_cost_about_four_times_as_much() -> None:
    factors = [
        of("div2k", name, 5).times.standard / of("div2k", name, 3).times.standard
        for name in ("dncnn", "nafnet", "cgnet")
    ]

    assert [round(factor, 1) for factor in factors] == [3.9, 4.3, 3.6]


def test_what_is_lost_is_none() -> None:
    known_accuracies = {
        row.title: (row.standard.accuracy, row.weighted.accuracy)
        for row in TABLE_3_AND_4
        if isinstance(row.standard, ClassificationScores)
        and isinstance(row.weighted, ClassificationScores)
        and (row.standard.accuracy, row.weighted.accuracy) != (None, None)
    }
    known_of_weighted = {
        (row.title, row.kernel_size): known
        for row in PUBLISHED
        if (known := {name: value for name, value in asdict(row.weighted).items() if value})
    }

    assert known_accuracies == {"VGG": (0.5689, 0.6694)}
    assert known_of_weighted == {
        ("VGG", 3): {"accuracy": 0.6694},
        ("DnCNN", 3): {"psnr_db": 22.63},
        ("NAFNet", 3): {"psnr_db": 25.83},
        ("NAFNet", 5): {"psnr_db": 27.19},
    }
    assert all(asdict(row.standard)["macro_f1"] for row in TABLE_3_AND_4)
    assert all(None not in asdict(row.standard).values() for row in TABLE_5_AND_6)


def test_the_standard_dncnn_has_the_psnr_of_its_input_at_25_gray_levels() -> None:
    scores = of("div2k", "dncnn", 3).standard

    assert isinstance(scores, DenoisingScores)
    assert scores.psnr_db == round(20 * math.log10(255 / 25), 2) == 20.17


@pytest.mark.parametrize(
    ("architecture", "kernel_size", "ratio"),
    [
        ("dncnn", 3, 1.14),
        ("nafnet", 3, 1.12),
        ("cgnet", 3, 1.02),
        ("dncnn", 5, 1.08),
        ("nafnet", 5, 1.09),
        ("cgnet", 5, 1.02),
    ],
)
def test_the_nrmse_is_a_little_more_than_the_rmse_as_when_divided_by_the_range(
    architecture: str, kernel_size: int, ratio: float
) -> None:
    scores = of("div2k", architecture, kernel_size).standard

    assert isinstance(scores, DenoisingScores)
    assert scores.nrmse is not None
    assert scores.psnr_db is not None
    assert scores.nrmse / 10 ** (-scores.psnr_db / 20) == pytest.approx(ratio, abs=0.006)
