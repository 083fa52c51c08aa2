"""The lifeline between nodes: pulses keep it, its end or a long silence cuts it."""

import os
import threading

from wconv_jobs.ranks.lifeline import PULSE, Lifeline


def test_the_end_of_the_file_cuts_the_lifeline() -> None:
    reading, writing = os.pipe()
    cut = threading.Event()
    lifeline = Lifeline(reading, cut.set)
    os.write(writing, PULSE)
    before = lifeline.is_cut

    os.close(writing)

    assert cut.wait(60)
    assert lifeline.is_cut
    assert not before
    os.close(reading)


def test_silence_cuts_the_lifeline_though_the_file_is_open() -> None:
    reading, writing = os.pipe()
    cut = threading.Event()

    Lifeline(reading, cut.set, silence_s=0.01)

    assert cut.wait(60)
    os.close(reading)
    os.close(writing)


def test_pulses_keep_the_lifeline() -> None:
    reading, writing = os.pipe()
    cut = threading.Event()
    lifeline = Lifeline(reading, cut.set, silence_s=10.0)

    for _ in range(100):
        os.write(writing, PULSE)

    assert not lifeline.is_cut
    os.close(writing)
    assert cut.wait(60)
    os.close(reading)
