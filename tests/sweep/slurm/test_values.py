"""What SLURM writes is read right."""

import pytest

from wconv_sweep.slurm.values import GPU, gpus_per_node, minutes, number, pairs, resource, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1-02:03:04", 86400 + 2 * 3600 + 3 * 60 + 4),
        ("2-12", 2 * 86400 + 12 * 3600),
        ("04:00:00", 4 * 3600),
        ("30:15", 30 * 60 + 15),
        ("90", 90 * 60),
        ("UNLIMITED", None),
        ("INFINITE", None),
        ("", None),
    ],
)
def test_times(text: str, expected: int | None) -> None:
    assert seconds(text) == expected


def test_minutes_are_rounded_down() -> None:
    """A job may not ask for more than the limit."""
    assert minutes("00:01:59") == 1


def test_a_time_in_other_words_is_an_error() -> None:
    with pytest.raises(ValueError, match="'soon' is not a time"):
        seconds("soon")


def test_numbers() -> None:
    assert (number("12"), number("UNLIMITED"), number("")) == (12, None, None)


def test_values_may_hold_the_sign_that_ends_their_name() -> None:
    assert pairs("Nodes=a[1-2] TRES=cpu=64,gres/gpu=8") == {
        "Nodes": "a[1-2]",
        "TRES": "cpu=64,gres/gpu=8",
    }


def test_what_an_administrator_wrote_is_not_taken_for_an_answer() -> None:
    assert pairs("CPUTot=32 Reason=broken, was CPUTot=64")["CPUTot"] == "32"


def test_an_amount_among_resources() -> None:
    tres = "cpu=64,mem=250G,gres/gpu=8,gres/gpu:a100=8"

    assert (resource(tres, GPU), resource(tres, "node")) == (8, None)


@pytest.mark.parametrize(
    ("gres", "expected"),
    [
        ("gpu:4", (4, "")),
        ("gpu:a100:4(S:0-1)", (4, "a100")),
        ("gpu:a100_80:2(S:0),gpu:v100:4,nvme:1", (2, "a100_80")),
        ("craynetwork:4,gpu:mi250:8", (8, "mi250")),
        ("gpu(S:0-1)", (0, "")),
        ("(null)", (0, "")),
    ],
)
def test_gpus_of_a_node(gres: str, expected: tuple[int, str]) -> None:
    assert gpus_per_node(gres) == expected
