"""The time of an epoch leaves out what no other trial has: start-up and interruptions."""

from pathlib import Path

from tests.jobs.trials import Recorder, denoising
from wconv_jobs.messages import Report, Verdict
from wconv_jobs.training.epoch_time import epoch_s, steady_epochs
from wconv_jobs.training.loop import train


def reports(*times: tuple[float, bool]) -> list[Report]:
    return [
        Report(epoch=number, metrics={}, epoch_s=time_s, steady=steady)
        for number, (time_s, steady) in enumerate(times, start=1)
    ]


def test_the_time_of_a_trial_is_the_median_over_epochs_that_were_not_the_first_of_an_attempt() -> (
    None
):
    """Of 90, 2, 3, 80, 7 seconds the attempts began with the 90 and the 80."""
    found = reports((90.0, False), (2.0, True), (3.0, True), (80.0, False), (7.0, True))

    assert (epoch_s(found), steady_epochs(found)) == (3.0, 3)


def test_a_trial_without_such_an_epoch_has_the_median_over_all() -> None:
    found = reports((5.0, False), (7.0, False))

    assert (epoch_s(found), steady_epochs(found)) == (6.0, 0)


def test_the_first_epoch_of_each_attempt_is_not_steady(tmp_path: Path) -> None:
    spec = denoising(tmp_path, epochs=5)
    train(spec, Recorder({2: Verdict.STOP}))

    result = train(spec, Recorder())

    assert [report.steady for report in result.reports] == [False, True, False, True, True]


def test_an_epoch_that_was_interrupted_is_not_steady(tmp_path: Path) -> None:
    spec = denoising(tmp_path, epochs=3)
    asked = 0

    def demanded() -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    train(spec, Recorder(), demanded=demanded)

    result = train(spec, Recorder())

    assert [report.steady for report in result.reports] == [False, True, True]
