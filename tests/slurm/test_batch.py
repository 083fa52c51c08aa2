"""The batch script: what it says word for word, and that SLURM and submitit take it so."""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import submitit

from tests.slurm.box import SlurmBox
from tests.slurm.processes import wait_until
from tests.sweep.tiny import run
from wconv_sweep.errors import ConfigurationError, SlurmError
from wconv_sweep.pilots.command import pilot_command
from wconv_sweep.slurm.batch import BatchJob, batch_script, check_submission, submit

GOLDEN = Path(__file__).parent / "golden" / "leonardo_dncnn_5x5.txt"


def batch(folder: Path, **changes: object) -> BatchJob:
    job = BatchJob(
        name="wconv-tiny-12345678",
        folder=folder,
        command=pilot_command(folder / "slurm_0_2.json"),
        code=folder / "code",
        options={"account": "wconv", "partition": "gpu", "gres": "gpu:1"},
        walltime_min=10,
        grace_s=60,
        nodes=1,
        cpus=8,
    )
    return dataclasses.replace(job, **changes)  # type: ignore[arg-type]


def masked(output: str, folder: Path) -> str:
    """Replace what is another one on each machine and in each version of the program."""
    output = output.replace(str(folder), "FOLDER").replace(sys.executable, "PYTHON")
    return re.sub(r"/code/[0-9a-f]{16}", "/code/HASH", output)


@pytest.fixture
def dry_run(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What a launch of dncnn_5x5 on Leonardo would do."""
    monkeypatch.setenv("WCONV_SWEEP_DATA", str(empty_folder))
    monkeypatch.delenv("WCONV_SWEEP_ACCOUNT", raising=False)
    arguments = ["launch", "--cluster", "leonardo", "--study", "dncnn_5x5", "--dry-run"]

    status, output, errors = run(monkeypatch, capsys, *arguments, "--account", "IscrB_wconv")

    assert status == 0
    # A launch would refuse to go on.
    assert f"warning: study dncnn_5x5: data: {empty_folder}/DIV2K_train_HR" in errors
    assert list(empty_folder.iterdir()) == []
    return output


def test_the_dry_run_of_leonardo_is_as_it_was_read_by_a_person(
    dry_run: str, empty_folder: Path
) -> None:
    assert masked(dry_run, empty_folder) == GOLDEN.read_text("utf-8")


@pytest.mark.slow
def test_the_script_for_leonardo_is_accepted_where_partition_and_account_are_known(
    box: SlurmBox, dry_run: str
) -> None:
    script = dry_run.partition("batch script:\n\n")[2].rpartition("Nothing was written")[0]
    swapped = (
        script.replace("--account=IscrB_wconv", f"--account={box.site.account}")
        .replace("--partition=boost_usr_prod", "--partition=gpu")
        # The nodes of the test cluster have less memory than Leonardo's.
        .replace("--mem=492000M", "--mem=120000M")
    )

    ended = subprocess.run(
        ["sbatch", "--test-only"], input=swapped, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert "to start at" in ended.stderr


def test_a_launch_warns_of_a_folder_whose_files_the_site_deletes(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CINECA_SCRATCH", str(empty_folder))
    words = ["launch", "--cluster", "leonardo", "--study", "quickstart", "--account", "mine"]

    _, _, errors = run(monkeypatch, capsys, *words, "--dry-run")

    assert "lies in $CINECA_SCRATCH, where the site deletes files after 40 days" in errors


def test_a_dry_run_with_findings_shows_the_script_and_fails(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WCONV_SWEEP_DATA", str(empty_folder))
    monkeypatch.delenv("WCONV_SWEEP_ACCOUNT", raising=False)
    arguments = ["--cluster", "leonardo", "--study", "dncnn_5x5", "--time", "2-00:00:00"]

    status, output, errors = run(
        monkeypatch, capsys, "launch", *arguments, "--pilots", "2", "--dry-run"
    )

    assert status == 2
    assert "#SBATCH --time=2880" in output
    for problem in ("no account is given", "2880 min are more", "DIV2K_train_HR", "SQLite file"):
        assert problem in errors
    assert list(empty_folder.iterdir()) == []


def test_what_we_use_of_submitit_is_as_in_the_version_that_we_know(tmp_path: Path) -> None:
    """Another submitit may write another script: then this says where to look."""
    script = batch_script(batch(tmp_path), 3)

    header = {line for line in script.splitlines() if line.startswith("#SBATCH")}
    assert header == {
        "#SBATCH --account=wconv",
        "#SBATCH --array=0-2%3",
        "#SBATCH --cpus-per-task=8",
        f"#SBATCH --error={tmp_path}/%A_%a_0_log.err",
        "#SBATCH --gres=gpu:1",
        "#SBATCH --job-name=wconv-tiny-12345678",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={tmp_path}/%A_%a_0_log.out",
        "#SBATCH --partition=gpu",
        "#SBATCH --signal=USR2@60",
        "#SBATCH --time=10",
    }, submitit.__version__
    (command,) = [line for line in script.splitlines() if line.startswith("srun ")]
    words = shlex.split(command)
    assert words[-5:] == [
        sys.executable,
        "-u",
        "-m",
        "wconv_sweep.pilots.pilot",
        str(tmp_path / "slurm_0_2.json"),
    ]
    assert words[1:-5] == [
        *("--unbuffered", "--output", f"{tmp_path}/%A_%a_%t_log.out"),
        *("--error", f"{tmp_path}/%A_%a_%t_log.err"),
        *("--wait=0", "--kill-on-bad-exit=0", "--mpi=none", "--export=ALL"),
    ]


@pytest.mark.parametrize("name", ["100%", "a\\b", "two\nlines"])
def test_a_folder_that_slurm_cannot_write_to_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="Choose another one with --runs"):
        batch_script(batch(tmp_path / name), 1)


def test_an_option_with_a_line_break_would_begin_a_command_and_is_refused(tmp_path: Path) -> None:
    options = {"account": "wconv\nrm -rf ~"}

    with pytest.raises(ConfigurationError, match="holds a line break"):
        batch_script(batch(tmp_path, options=options), 1)


@pytest.mark.slow
def test_a_submission_leaves_its_script_and_a_refused_one_nothing(
    box: SlurmBox, tmp_path: Path
) -> None:
    number = submit(batch(tmp_path), 2)
    refused = {"account": "nosuch", "partition": "gpu"}

    with pytest.raises(SlurmError, match=r"Invalid account .* --account"):
        submit(batch(tmp_path, options=refused), 2)

    assert {job.id for job in box.queue()} == {f"{number}_0", f"{number}_1"}
    assert [path.name for path in tmp_path.glob("*.sh")] == [f"{number}_submission.sh"]
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.slow
def test_the_site_is_asked_without_anything_being_submitted(box: SlurmBox, tmp_path: Path) -> None:
    check_submission(batch(tmp_path), 2)

    with pytest.raises(SlurmError, match="Invalid partition"):
        check_submission(batch(tmp_path, options={"partition": "nosuch"}), 2)

    assert box.queue() == []
    assert list(tmp_path.iterdir()) == []


def wrap(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str, script: str) -> None:
    """Put a wrapper of a site before a program of SLURM's, which it calls as $REAL."""
    real = shutil.which(program)
    folder.mkdir(exist_ok=True)
    path = folder / program
    path.write_text(f"#!/bin/bash\nREAL={real}\n{script}\n", "utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        '$REAL --parsable "$@"',
        'echo "Dear users: job 7 was a great job"; $REAL "$@"; echo "See you"',
        '$REAL "$@" > /dev/null; echo "Thank you for your job 99"',
        '$REAL "$@" > /dev/null',
        # The job has ended when it is looked for.
        '$REAL --wait "$@" > /dev/null; true',
    ],
)
def test_a_job_behind_a_wrapper_that_prints_something_else_is_known(
    box: SlurmBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    wrap(monkeypatch, tmp_path / "bin", "sbatch", script)
    folder = tmp_path / "pilots"
    folder.mkdir()

    number = submit(batch(folder), 2)

    known = box.run("squeue", "--noheader", "--states=all", "--format=%F").split()
    assert number == max(known, key=int)
    assert (folder / f"{number}_submission.sh").exists()
    assert list(folder.glob(".*")) == []


@pytest.mark.slow
def test_a_wrapper_that_submits_nothing_is_shown_with_its_words(
    box: SlurmBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrap(monkeypatch, tmp_path / "bin", "sbatch", "echo 'Closed today.'")
    folder = tmp_path / "pilots"
    folder.mkdir()

    with pytest.raises(SlurmError, match=r"printed 'Closed today\.', which SLURM itself does not"):
        submit(batch(folder), 2)

    assert box.queue() == []
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("export", ["ALL", "NONE"])
def test_a_pilot_gets_the_environment_of_the_profile_and_its_program_first(
    box: SlurmBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, export: str
) -> None:
    """The program of this pilot is one that prints what it sees."""
    wrap(monkeypatch, tmp_path / "bin", "sbatch", f'exec $REAL --export={export} "$@"')
    program = tmp_path / "it's the $code" / "wconv_sweep"
    (program / "pilots").mkdir(parents=True)
    (program / "__init__.py").touch()
    (program / "pilots" / "__init__.py").touch()
    (program / "pilots" / "pilot.py").write_text(
        "import os, sys\n"
        "print(repr(sys.argv[1]), repr(os.environ['VALUE']), os.environ['SRUN_CPUS_PER_TASK'])\n"
        "print([name for name in os.environ if name in ('WCONV_SWEEP_STORAGE', 'SLURM_WCKEY')])\n"
    )
    monkeypatch.setenv("WCONV_SWEEP_STORAGE", "postgresql://me:secret@host/db")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    folder = tmp_path / "pilots"
    folder.mkdir()
    job = batch(
        folder,
        code=program.parent,
        environment={"VALUE": "$HOME `date` 'x'"},
        setup=("ulimit -c 0",),
    )

    number = submit(job, 1)
    log = folder / f"{number}_0_0_log.out"
    wait_until(lambda: log.exists() and log.read_text().count("\n") == 2, "the pilot has printed")

    order, rest = log.read_text().splitlines()[0].split(" ", 1)
    assert order == repr(str(folder / "slurm_0_2.json"))
    assert rest == "\"$HOME `date` 'x'\" 8"
    assert log.read_text().splitlines()[1] == "[]"
