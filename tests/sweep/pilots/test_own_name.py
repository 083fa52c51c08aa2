"""A node whose name server does not answer says so, in the log of a pilot and in a test job."""

import logging
from pathlib import Path

import pytest

from wconv_sweep.doctor.checks import Mark
from wconv_sweep.doctor.node_probe import NodeProbe, report_on
from wconv_sweep.pilots import own_name
from wconv_sweep.pilots.own_name import watch_own_name


def test_a_name_that_is_found_slowly_is_named_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    watch_own_name().join()
    quick = len(caplog.messages)
    # Each name is found too slowly.
    monkeypatch.setattr(own_name, "SLOW_S", 0.0)
    watch_own_name().join()

    assert quick == 0
    (message,) = caplog.messages
    assert message.startswith("own name found slowly after_s=")
    assert "Let the node's name stand in /etc/hosts" in message


def test_the_test_job_warns_of_a_name_that_is_found_slowly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    probe = NodeProbe(folder=tmp_path, code=tmp_path, storage=None, nodes=1, gpus_used_per_node=0)
    monkeypatch.setattr("wconv_sweep.doctor.node_probe._gpus", lambda _: ())
    quick = report_on(probe).checks
    monkeypatch.setattr("wconv_sweep.doctor.node_probe.SLOW_S", 0.0)

    (warned,) = [check for check in report_on(probe).checks if check not in quick]

    assert warned.mark is Mark.WARNING
    assert "its own name was found after 0 s" in warned.what
