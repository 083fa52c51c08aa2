"""What the command line says to good and to bad input."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any

import pytest
import yaml

from tests.sweep.profiles import SITE
from tests.sweep.searching import launched, study_of
from tests.sweep.slurm.recorded import RecordedSlurm
from tests.sweep.slurm.test_site import CONFIG, NODE, PARTITION
from tests.sweep.tiny import StudyFile, Sweep, run
from wconv_sweep.cli.options import next_command
from wconv_sweep.launching.stopping import Stopped
from wconv_sweep.pilots import machine
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.slurm.job import JobState, SlurmJob
from wconv_sweep.slurm.jobs import SlurmView
from wconv_sweep.storage.open_storage import Storage, choose_url, create_storage
from wconv_sweep.study.files import load_study


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["launch", "--cluster", "local", "--study", "quikstart"],
            "--study quikstart: no study of this name is shipped. Did you mean 'quickstart'?",
        ),
        (
            ["launch", "--cluster", "locl", "--study", "quickstart"],
            "--cluster locl: no cluster of this name is shipped or lies in",
        ),
        (
            ["launch", "--cluster", "local", "--study", "mine.yaml"],
            "--study mine.yaml: there is no such file",
        ),
        (
            ["launch", "--cluster", "local", "--study", "quickstart", "--storage", "nonsense"],
            "--storage: is not a database URL.",
        ),
        (
            [
                "launch",
                "--cluster",
                "local",
                "--study",
                "quickstart",
                "--storage",
                "sqlite:////proc/none/sweep.db",
            ],
            "/proc/none/sweep.db: cannot be created: No such file or directory",
        ),
        (
            ["launch", "--cluster", "local", "--study", "quickstart", "--runs", "/dev/null/x"],
            "/dev/null/x/quickstart: cannot be created, because /dev/null is not a folder",
        ),
        (
            ["launch", "--cluster", "local", "--study", "~nosuchuser/mine.yaml"],
            "--study ~nosuchuser/mine.yaml: there is no such user",
        ),
        (
            ["launch", "--cluster", "local", "--study", f"{'a' * 300}.yaml"],
            "aaa.yaml: cannot be read: File name too long",
        ),
        (["status", "--runs", "a" * 300], "sweep.db: cannot be opened: File name too long"),
        (
            ["launch", "--cluster", "local", "--study", "quickstart", "--runs", "a" * 300],
            "cannot be opened: File name too long. Choose another with --storage or --runs.",
        ),
        (["status"], "there is no storage yet. Run `wconv-sweep launch` first"),
        (["export"], "there is no storage yet. Run `wconv-sweep launch` first"),
        (["resume", "--study", "quickstart"], "there is no storage yet."),
        (["stop", "--study", "quickstart"], "there is no storage yet."),
        (["dashboard"], "there is no storage yet."),
    ],
)
def test_a_wrong_name_gets_one_line_status_2_and_nothing_is_written(
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    status, output, errors = run(monkeypatch, capsys, *arguments)

    assert status == 2
    assert message in errors
    assert errors.startswith("wconv-sweep: ")
    assert errors.count("\n") == 1
    assert output == ""
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"budget": {"trials": 0}}, "budget.trials: must be at least 1"),
        (
            {"search": {"bounds": [[0.5, 1], [0.5, 1.5]], "sampler": {"name": "tpe"}}},
            "search.bounds: has 2 bounds, but kernel_size 3 takes 1",
        ),
        (
            {"data": {"name": "image_folder", "options": {"folder": "/nowhere/images"}}},
            "/nowhere/images",
        ),
        (
            {"data": {"name": "image_folder", "options": {"folder": "images"}}},
            "images: is relative, but jobs do not start in this folder.",
        ),
        ({"recipe": 5}, "recipe: must hold `key: value` lines (it is 5)"),
    ],
)
def test_a_wrong_study_file_gets_one_line_status_2_and_nothing_is_written(
    empty_folder: Path,
    study_file: StudyFile,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sections: dict[str, Any],
    message: str,
) -> None:
    path = str(study_file(**sections))

    status, _, errors = run(monkeypatch, capsys, "launch", "--cluster", "local", "--study", path)

    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert list(empty_folder.iterdir()) == []


def test_malformed_yaml_gets_one_line_with_its_place(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = empty_folder / "mine.yaml"
    path.write_text("schema: 1\nstudy: [mine\n")

    status, _, errors = run(
        monkeypatch, capsys, "launch", "--cluster", "local", "--study", "mine.yaml"
    )

    assert status == 2
    assert errors.startswith("wconv-sweep: mine.yaml:3: is not valid YAML: ")
    assert list(empty_folder.iterdir()) == [path]


def test_an_unreadable_image_folder_is_refused(
    empty_folder: Path,
    study_file: StudyFile,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = empty_folder / "images"
    images.mkdir()
    (images / "photo.png").write_bytes(b"no image")
    for name in ("b.png", "c.png"):
        (images / name).write_bytes(b"no image")
    path = study_file(data={"name": "image_folder", "options": {"folder": str(images)}})

    status, _, errors = run(
        monkeypatch, capsys, "launch", "--cluster", "local", "--study", str(path)
    )

    assert status == 2
    assert str(images / "photo.png") in errors
    assert not (empty_folder / "wconv_runs").exists()


def test_a_wrong_option_gets_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, errors = run(monkeypatch, capsys, "launch", "--studdy", "quickstart")

    assert status == 2
    assert "No such option: --studdy" in errors


@pytest.mark.parametrize(
    ("profile", "settings", "said"),
    [
        # By memory, by cores, by the user.
        (
            {},
            {"ranks": 2},
            "1 trial on each pilot, of 2 ranks with 1 thread each: 8 cores, and free memory for "
            "1 trial at 1,024 MiB a rank",
        ),
        (
            {},
            {"threads_per_rank": 4},
            "2 trials on each pilot, of 1 rank with 4 threads each: 8 cores, and free memory for "
            "3 trials at 1,024 MiB a rank",
        ),
        # No more threads than cores.
        (
            {"lanes": 4},
            {"threads_per_rank": 4},
            "4 trials on each pilot, of 1 rank with 2 threads",
        ),
        ({"gpus_per_pilot": 4}, {"ranks": 2}, "2 trials on each pilot, of 2 ranks with 1 thread"),
        ({"gpus_per_pilot": 4}, {"per_gpu": 2}, "8 trials on each pilot, of 1 rank with 1 thread"),
        (
            {"launcher": "slurm", "cpus_per_node": 32, "nodes": 2, "gpus_per_node": 0},
            {},
            "64 trials on each pilot, of 1 rank with 1 thread each; fewer on a node with less "
            "free memory than 1,024 MiB a rank",
        ),
        (
            {"launcher": "slurm", "cpus_per_node": 32, "gpus_per_node": 4},
            {"threads_per_rank": 8},
            "4 trials on each pilot, of 1 rank with 8 threads each",
        ),
    ],
)
def test_a_dry_run_says_how_many_trials_go_side_by_side_and_what_that_follows_from(
    profile: dict[str, Any],
    settings: dict[str, int],
    said: str,
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda root: 8)
    monkeypatch.setattr(machine, "free_memory_mb", lambda root: 3500)
    facts = {"schema": 1, "cluster": "here", "launcher": "local", "walltime_min": 60} | profile
    if facts["launcher"] == "local":
        facts = {"pilots": 1, "gpus_per_pilot": 0} | facts
    (empty_folder / "here.yaml").write_text(yaml.safe_dump(facts), "utf-8")
    words = ["launch", "--cluster", "here.yaml", "--study", "quickstart", "--dry-run"]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]

    _, output, _ = run(monkeypatch, capsys, *words)
    _, document, _ = run(monkeypatch, capsys, *words, "--json")

    assert f"side by side: {said}" in " ".join(output.split())
    assert json.loads(document)["trials_at_once"] == int(said.split()[0])


def test_a_dry_run_says_how_many_trials_share_a_gpu(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ("launch", "--cluster", "local", "--study", "quickstart", "--dry-run")

    _, output, _ = run(monkeypatch, capsys, *plan, "--set", "per_gpu=4")

    assert "15 trials of 5 epochs, 1 rank each, 4 trials on each GPU" in output


def test_a_dry_run_shows_everything_and_writes_nothing(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")

    status, output, _ = run(
        monkeypatch, capsys, "launch", "--cluster", "local", "--study", "quickstart", "--dry-run"
    )

    assert status == 0
    for expected in (
        "dncnn depth=5 width=16 norm=none",
        "plain (1)",
        "15 trials of 5 epochs, 1 rank each",
        f"sqlite:///{empty_folder}/wconv_runs/sweep.db",
        f"-m wconv_sweep.pilots.pilot '{empty_folder}/wconv_runs/quickstart/pilots/pilot_0.json'",
        "Nothing was written or started (--dry-run).",
    ):
        assert expected in output
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ("launch", "--cluster", "perlmutter", "--study", "quickstart"),
        ("doctor", "--cluster", "perlmutter"),
        ("db", "start", "--job"),
    ],
    ids=" ".join,
)
def test_what_may_not_stand_in_a_batch_script_gets_one_line_status_2_and_nothing_is_written(
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    wrong = ("--sbatch", "array=0-9", "--sbatch", "reservation=a\nb", "--account", "a;id")

    status, _, errors = run(monkeypatch, capsys, *command, *wrong)

    assert status == 2
    assert [line.partition(": ")[2].partition(":")[0] for line in errors.splitlines()] == [
        "--account a;id",
        "--sbatch array",
        "--sbatch reservation",
    ]
    assert list(empty_folder.iterdir()) == []


def test_a_dry_run_shows_the_options_of_sbatch_in_the_script(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("launch", "--cluster", "perlmutter", "--study", "quickstart", "--account", "m1")
    added = ("reservation=course", "exclude=nid[1-4]", "contiguous", "constraint=gpu&hbm80g")
    options = [word for each in added for word in ("--sbatch", each)]

    status, output, _ = run(
        monkeypatch, capsys, *words, *options, "--partition", "a,b", "--dry-run"
    )
    lines = [line for line in output.splitlines() if line.startswith("#SBATCH")]

    assert status == 0
    for line in (
        "#SBATCH --constraint='gpu&hbm80g'",
        "#SBATCH --contiguous",
        "#SBATCH --exclude='nid[1-4]'",
        "#SBATCH --exclusive",
        "#SBATCH --mem=0",
        "#SBATCH --partition=a,b",
        "#SBATCH --reservation=course",
    ):
        assert lines.count(line) == 1
    assert [line for line in lines if "--constraint=gpu" in line] == []
    assert list(empty_folder.iterdir()) == []


def test_on_this_machine_there_is_no_sbatch_to_give_options_to(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("launch", "--cluster", "local", "--study", "quickstart", "--dry-run")

    status, _, errors = run(monkeypatch, capsys, *words, "--sbatch", "contiguous", "--nodes", "2")

    assert status == 2
    assert [line.split(": ")[1] for line in errors.splitlines()] == [
        "--nodes 2",
        "--sbatch contiguous",
    ]


def test_a_study_that_has_ended_is_not_said_to_be_stopped(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    searcher = launched(sqlite_storage, study_of({"name": "random"}, name="mine", trials=3))
    stop = ("stop", "--study", "mine", "--storage", sqlite_storage.optuna_url())

    before = run(monkeypatch, capsys, *stop)
    studies.reopen(sqlite_storage, "mine")
    searcher.work()
    after = run(monkeypatch, capsys, *stop)

    assert "mine: running trials end at their next checkpoint.\nResume with: " in before[1]
    assert after[:2] == (0, "mine: all of its trials have ended, there is nothing to stop.\n")


@pytest.mark.parametrize("ended", [False, True])
def test_jobs_that_wait_are_promised_another_use_only_where_there_is_one(ended: bool) -> None:
    waiting = SlurmJob("4711", "4711", "0", JobState.PENDING, "Priority", "", "", "")

    lines = Stopped("mine", SlurmView((waiting,)), cancelled=False, ended=ended).lines()

    assert "1 job(s) wait in the queue, and end when they start. " in lines[1]
    assert "`stop --now` cancels them." in lines[1]
    assert ("`resume` uses them again" in lines[1]) is not ended


def test_launch_may_tune_weighted_convolution_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    also = "search.also={recipe.optimizer.lr: {low: 1e-4, high: 0.1, log: true}}"
    launch = ["launch", "--cluster", "local", "--study", "quickstart", "--dry-run", "--set", also]

    _, shown, _ = run(monkeypatch, capsys, *launch, "--arms", "weighted")
    _, document, _ = run(monkeypatch, capsys, *launch, "--arms", "weighted", "--json")

    assert "log; for weighted convolution alone" in " ".join(shown.split())
    assert json.loads(document)["config"]["search"]["arms"] == "weighted"


def test_a_dry_run_tells_what_an_ablation_adds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launch = ["launch", "--cluster", "local", "--study", "quickstart", "--ablate", "--dry-run"]

    _, shown, _ = run(monkeypatch, capsys, *launch)
    _, document, _ = run(monkeypatch, capsys, *launch, "--json")

    # Two halves of the density's effect on the four seeds of the confirmation.
    assert "ablation:             8 further trials, unless the study has them already" in shown
    assert json.loads(document)["ablation_trials"] == 8


def test_a_dry_run_can_be_read_by_a_script(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["launch", "--cluster", "local", "--study", "quickstart", "--dry-run", "--json"]

    status, output, _ = run(monkeypatch, capsys, *arguments)

    plan = json.loads(output)
    assert status == 0
    assert plan["config"]["budget"]["trials"] == 15
    assert plan["profile"]["cluster"] == "local"
    assert plan["changes"] == []
    assert list(empty_folder.iterdir()) == []


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, output, _ = run(monkeypatch, capsys, "--version")

    assert status == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", output)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["launch", "--help"], ["status"], ["status", "--json"]]
)
@pytest.mark.slow
def test_help_and_status_load_neither_torch_nor_optuna(
    sweep: Sweep, study_file: StudyFile, arguments: list[str]
) -> None:
    storage = create_storage(choose_url(None, sweep.folder / "wconv_runs", {}))
    folder = RunFolder.of(storage.folder, "tiny")
    studies.create_or_extend(storage, load_study(str(study_file())), folder, "local")
    storage.close()

    assert loaded(sweep.folder, *arguments, among={"torch", "optuna", "submitit"}) == []


@pytest.mark.slow
def test_a_launch_on_slurm_loads_neither_torch_nor_optuna_nor_numpy(
    sweep: Sweep, study_file: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its first one makes Optuna's tables.
    create_storage(choose_url(None, sweep.folder / "wconv_runs", {})).close()
    slurm = RecordedSlurm(tmp_path / "bin", monkeypatch)
    slurm.says("scontrol", "show config", output=CONFIG)
    slurm.says("scontrol", "show partition", output=PARTITION)
    slurm.says("scontrol", "show node", output=NODE)
    slurm.says("sacctmgr")
    slurm.says("squeue")
    slurm.says("sbatch", output="Submitted batch job 4711\n")
    facts = SITE | {"account": "mine", "partition": {"default": "boost"}}
    (sweep.folder / "site.yaml").write_text(yaml.safe_dump(facts), "utf-8")
    arguments = ("launch", "--cluster", "site.yaml", "--study", str(study_file()))
    slow = {"torch", "optuna", "optuna_dashboard", "alembic", "numpy", "scipy"}

    assert loaded(sweep.folder, *arguments, among=slow) == []
    assert slurm.calls("sbatch")[-1].endswith(".sh")


def loaded(folder: Path, *arguments: str, among: set[str]) -> list[str]:
    """Return those among some modules that a command has loaded when it ends."""
    code = (
        "import sys\n"
        "from wconv_sweep.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"print(*sorted({among} & sys.modules.keys()))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.splitlines()[-1].split()


def test_ctrl_c_while_the_program_is_being_loaded_prints_nothing(tmp_path: Path) -> None:
    # What the command line imports first interrupts the process that imports it.
    (tmp_path / "typer.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")

    ended = subprocess.run(
        [sys.executable, "-m", "wconv_sweep", "--version"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_the_command_is_the_module_that_can_be_interrupted() -> None:
    (command,) = entry_points(group="console_scripts", name="wconv-sweep")

    assert command.value == "wconv_sweep.__main__:main"


@pytest.mark.slow
def test_launch_does_not_load_torch(sweep: Sweep) -> None:
    code = (
        "import sys\n"
        "from wconv_sweep.launching.plan import plan_launch\n"
        "from wconv_sweep.storage.open_storage import choose_url\n"
        "from pathlib import Path\n"
        "runs = Path('runs')\n"
        "plan_launch('quickstart', 'local', choose_url(None, runs, {}), runs)\n"
        "print('torch' in sys.modules)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=sweep.folder, capture_output=True, text=True, check=True
    )

    assert ended.stdout == "False\n"


def test_the_commands_to_run_next_can_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "wconv-sweep"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])

    monkeypatch.setenv("PATH", "/nowhere")
    off_the_path = next_command("status", None, Path("my runs"), "tiny")
    monkeypatch.setenv("PATH", str(program.parent))
    on_the_path = next_command("export", "sqlite:////a.db", Path("wconv_runs"), None)

    assert off_the_path == f"{program} status --study tiny --runs 'my runs'"
    assert on_the_path == "wconv-sweep export --storage sqlite:////a.db"


def test_a_file_that_is_called_like_a_cluster_is_not_taken_for_it(empty_folder: Path) -> None:
    from wconv_sweep.launching.plan import plan_launch
    from wconv_sweep.storage.open_storage import choose_url

    (empty_folder / "local").write_text("no profile")
    (empty_folder / "mine.yaml").write_text(
        "{schema: 1, cluster: mine, launcher: local, pilots: 1, gpus_per_pilot: 0,\n"
        " walltime_min: 60}\n"
    )
    runs = empty_folder / "runs"

    by_name = plan_launch("quickstart", "local", choose_url(None, runs, {}), runs)
    by_file = plan_launch("quickstart", "mine.yaml", choose_url(None, runs, {}), runs)

    assert by_name.cluster == "local"
    assert by_file.cluster == str(empty_folder / "mine.yaml")


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def buffering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program write at its end, or at once: the error comes at another place."""
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)


def printing_to(output: IO[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wconv_sweep", *arguments],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("buffering")
@pytest.mark.parametrize("arguments", [("--version",), ("launch", "--help")])
@pytest.mark.slow
def test_an_output_that_finds_no_room_is_told_in_one_line(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        ended = printing_to(full, *arguments)

    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "wconv-sweep: the output or a file: cannot be written: No space left on device. Free "
        "disk space, or write elsewhere; the files written so far are incomplete."
    ]


@pytest.mark.usefixtures("buffering")
@pytest.mark.parametrize("arguments", [("--version",), ("launch", "--help")])
def test_a_reader_that_has_enough_ends_it_without_a_word(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        ended = printing_to(closed, *arguments)

    assert (ended.returncode, ended.stderr) == (1, "")
