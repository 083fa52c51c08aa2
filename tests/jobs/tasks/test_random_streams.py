"""Random streams: the published numbers, sound statistics, and nothing but their arguments."""

import math

import pytest
import torch
from torch import Tensor

from wconv_jobs.tasks.random_streams import below, normal, normal_at, streams

# Shape letters: S samples, N numbers of each sample.

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def _streams(samples: int, *parts: int | str) -> Tensor:
    return streams(*(parts or (7, "test")), samples=torch.arange(samples))


def test_the_numbers_are_those_of_split_mix_64() -> None:
    # For the seed 1234567, as Java's and others' implementations print them.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]

    # All 63 bits that `below` uses are seen with the largest limit.
    drawn = below(torch.tensor([1234567]), torch.full((1, 3), 2**63 - 1))

    assert drawn.tolist() == [[word >> 1 for word in published]]


def test_normal_numbers_have_the_moments_and_tails_of_a_normal_distribution() -> None:
    drawn = normal(_streams(1000), 100).double()

    # Standard deviations of the estimates for 100,000 numbers in the comments.
    assert abs(drawn.mean()) < 5 * 0.0032
    assert abs(drawn.square().mean() - 1) < 5 * 0.0045
    assert abs(drawn.pow(3).mean()) < 5 * 0.0123
    assert abs(drawn.pow(4).mean() - 3) < 5 * 0.031
    beyond = (drawn.abs() > 3).double().mean().item()
    assert beyond == pytest.approx(math.erfc(3 / math.sqrt(2)), abs=5 * 0.00016)
    assert drawn.abs().max() < 6.66


def test_numbers_of_a_sample_and_of_its_neighbors_are_uncorrelated() -> None:
    drawn = normal(_streams(1000), 100).double()

    # Products of 99,000 or 99,900 independent pairs: standard deviation 0.0032.
    assert abs((drawn[:, 1:] * drawn[:, :-1]).mean()) < 5 * 0.0032
    assert abs((drawn[1:] * drawn[:-1]).mean()) < 5 * 0.0032


@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_number_of_normal_numbers_can_be_drawn(count: int) -> None:
    assert normal(_streams(3), count).shape == (3, count)


def test_normal_numbers_can_be_drawn_at_any_places() -> None:
    stream_S = _streams(50)
    place_SN = torch.arange(200).expand(50, 200)
    drawn = normal_at(stream_S, place_SN).double()

    backwards = normal_at(stream_S, place_SN.flip(1)[:, 20:30]).double()

    # 10,000 numbers: standard deviations 0.01 and 0.014.
    assert torch.equal(backwards, drawn.flip(1)[:, 20:30])
    assert abs(drawn.mean()) < 5 * 0.01
    assert abs(drawn.square().mean() - 1) < 5 * 0.014


def test_whole_numbers_are_uniform_below_a_limit_of_their_own() -> None:
    drawn = below(_streams(9000), torch.tensor([1, 2, 9]).expand(9000, 3))

    assert drawn.dtype == torch.int64
    assert set(drawn[:, 0].tolist()) == {0}
    # 9,000 numbers: halves have 4,500 +- 47, ninths 1,000 +- 30.
    assert (drawn[:, 1].bincount(minlength=2) - 4500).abs().max() < 5 * 47
    assert (drawn[:, 2].bincount(minlength=9) - 1000).abs().max() < 5 * 30
    assert drawn[:, 2].max() == 8


def test_a_large_limit_is_kept() -> None:
    drawn = below(_streams(1000), torch.full((1000, 2), 2**63 - 1))

    assert drawn.min() >= 0
    assert drawn.max() > 2**62


def test_different_parts_and_samples_give_different_streams() -> None:
    parts: list[tuple[int | str, ...]] = [(7, "a", 0), (7, "a", 1), (7, "b", 0), (8, "a", 0)]

    starts = torch.cat([_streams(1000, *each) for each in parts])

    assert len(set(starts.tolist())) == 4000
    first = torch.cat([normal(_streams(1, *each), 8) for each in parts])
    assert len(set(first.flatten().tolist())) == 32


@pytest.mark.parametrize("device", DEVICES)
def test_a_stream_does_not_depend_on_the_others_drawn_with_it(device: str) -> None:
    samples = torch.arange(50, device=device)
    together = streams(7, "noise", 3, samples=samples)

    backwards = streams(7, "noise", 3, samples=samples.flip(0)[10:20])
    alone = streams(7, "noise", 3, samples=samples[41:42])

    assert torch.equal(backwards, together.flip(0)[10:20])
    assert torch.equal(normal(alone, 5), normal(together, 5)[41:42])
    limit_SN = torch.full((50, 4), 10, device=device)
    assert torch.equal(below(alone, limit_SN[:1]), below(together, limit_SN)[41:42])


@pytest.mark.gpu
def test_a_gpu_draws_the_same_bits() -> None:
    on_cpu, on_gpu = _streams(100), streams(7, "test", samples=torch.arange(100, device="cuda"))

    assert torch.equal(on_gpu.cpu(), on_cpu)
    limit_SN = torch.full((100, 50), 1000)
    assert torch.equal(below(on_gpu, limit_SN.cuda()).cpu(), below(on_cpu, limit_SN))
    torch.testing.assert_close(normal(on_gpu, 50).cpu(), normal(on_cpu, 50))


def test_the_global_random_state_is_neither_used_nor_changed() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = normal(_streams(3), 4)

    untouched = torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = normal(_streams(3), 4)

    assert untouched
    assert torch.equal(one, again)
