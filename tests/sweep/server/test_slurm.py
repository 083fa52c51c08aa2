"""A server is submitted as a job also by who has run nothing yet."""

import os
from pathlib import Path

import pytest

from wconv_sweep.server.programs import SERVER_PROGRAMS, find_programs
from wconv_sweep.server.slurm import ServerRequest, submit_server


@pytest.mark.skipif(not find_programs(SERVER_PROGRAMS), reason="no PostgreSQL")
def test_the_first_command_of_a_user_may_be_the_one_that_starts_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\necho Submitted batch job 7\n", "utf-8")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")

    request = ServerRequest(options={}, walltime_min=60)

    assert submit_server(tmp_path / "wconv_runs" / "postgres", request) == "7"
