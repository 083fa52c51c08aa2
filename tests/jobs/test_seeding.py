"""Seeds: stable, unambiguous, and derived without torch."""

import subprocess
import sys

import pytest
import torch

from wconv_jobs.seeding import derive_seed, generator


def test_a_seed_is_the_first_63_bits_of_the_sha_256_of_its_parts_as_json() -> None:
    # printf '["init",1]' | sha256sum  ->  59a27e4b5f3cae05...
    expected = 0x59A27E4B5F3CAE05 >> 1

    assert derive_seed("init", 1) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "bc"), ("ab", "c")),
        ((1,), ("1",)),
        ((1, 23), (12, 3)),
        (("a", "b"), ("b", "a")),
        (("a,b",), ("a", "b")),
        (('a","b',), ("a", "b")),
        ((), ("",)),
        ((0,), (-0, 0)),
    ],
)
def test_different_parts_give_different_seeds(
    one: tuple[int | str, ...], other: tuple[int | str, ...]
) -> None:
    assert derive_seed(*one) != derive_seed(*other)


def test_seeds_fit_into_63_bits() -> None:
    seeds = [derive_seed("order", epoch) for epoch in range(200)]

    assert len(set(seeds)) == 200
    assert min(seeds) >= 0
    assert 2**62 < max(seeds) < 2**63


@pytest.mark.parametrize("part", [True, 1.0, None, b"init"])
def test_a_part_that_is_neither_int_nor_str_is_refused(part: object) -> None:
    with pytest.raises(TypeError, match="a seed is derived from int and str, got"):
        derive_seed("init", part)  # type: ignore[arg-type]


def test_generators_of_the_same_parts_draw_the_same_and_leave_the_global_state_alone() -> None:
    before = torch.get_rng_state()

    one = torch.rand(4, generator=generator(3, "crop", 0))
    again = torch.rand(4, generator=generator(3, "crop", 0))
    other = torch.rand(4, generator=generator(3, "crop", 1))

    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_deriving_a_seed_does_not_import_torch() -> None:
    code = (
        "import sys; from wconv_jobs.seeding import derive_seed; derive_seed('init', 1); "
        "sys.exit('torch' in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
