"""Any option of sbatch can be added but those of the program, and none of them is a command."""

import shlex
from pathlib import Path

import pytest

from tests.sweep.profiles import profile
from wconv_sweep.clusters.pilot_request import JobRequest, PilotRequest
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.slurm.batch import BatchJob, batch_script
from wconv_sweep.slurm.sbatch_options import option_problems, parse_option, shown_option

# `sbatch --help` of SLURM 22.05.8, and what 24.11 and 26.05 have beside it.
_OF_THE_PROGRAM_TEXT = """
account array chdir clusters cpus-per-gpu cpus-per-task dependency error exclusive export
export-file gid gpus gpus-per-node gpus-per-socket gpus-per-task gres help job-name mem mem-per-cpu
mem-per-gpu no-requeue nodes ntasks ntasks-per-core ntasks-per-node ntasks-per-socket output
oversubscribe parsable partition qos quiet requeue signal test-only time uid usage verbose version
wait wrap cluster ntasks-per-gpu open-mode share tres-per-task
"""
_OF_THE_PROGRAM = _OF_THE_PROGRAM_TEXT.split()
_OF_A_KEY = ["constraint", "hint", "wckey"]
_FREE_TEXT = """
bb bbf begin cluster-constraint comment container contiguous core-spec cores-per-socket cpu-freq
deadline delay-boot distribution exclude extra-node-info get-user-env gpu-bind gpu-freq gres-flags
hold ignore-pbs input licenses mail-type mail-user mcs-label mincpus nice no-kill nodefile nodelist
overcommit power priority profile propagate reboot reservation sockets-per-node spread-job switches
thread-spec threads-per-core time-min tmp use-min-nodes acctg-freq batch container-id extra
kill-on-invalid-dep mem-bind network oom-kill-step prefer resv-ports segment stepmgr tres-bind
umask wait-all-nodes an-option-of-next-year
"""
_FREE = _FREE_TEXT.split()


def refused(name: str, value: str | int = "x") -> str:
    """Return what a profile says of an option."""
    with pytest.raises(ConfigurationError) as caught:
        profile(sbatch={name: value})
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("name", [*_FREE, *_OF_A_KEY])
def test_every_option_that_nothing_else_sets_is_passed_on(name: str) -> None:
    assert option_problems({name: "x"}) == []
    if name in _FREE:
        assert profile(sbatch={name: "x"}).sbatch == {name: "x"}


@pytest.mark.parametrize("name", _OF_THE_PROGRAM)
def test_an_option_of_the_program_is_refused_with_what_to_do_instead(name: str) -> None:
    (problem,) = option_problems({name: "x"})

    assert problem.startswith(f"--sbatch {name}: is set by wconv-sweep. ")
    assert problem.removeprefix("--sbatch ").rstrip(".") in refused(name)


def test_a_job_without_a_profile_leaves_its_memory_to_the_user() -> None:
    JobRequest(sbatch={"mem": "4G"}).check()

    for request in (PilotRequest(sbatch={"mem": "4G"}), JobRequest(sbatch={"mem-per-gpu": "4G"})):
        with pytest.raises(ConfigurationError, match=r"is set by wconv-sweep"):
            request.check()


@pytest.mark.parametrize("name", _OF_A_KEY)
def test_a_profile_has_one_key_for_an_option(name: str) -> None:
    assert f"sbatch.{name}: is set by wconv-sweep. Use {name} in the profile" in refused(name)


@pytest.mark.parametrize(
    ("beginning", "option"),
    [("arr", "array"), ("tim", "time"), ("outp", "output"), ("depend", "dependency")],
)
def test_the_beginning_of_a_name_is_the_option_also_to_sbatch(beginning: str, option: str) -> None:
    """`sbatch --arr=0-3` is an array, as seen on SLURM 22.05.8."""
    assert f"sbatch takes it for {option}, which is set by" in option_problems({beginning: "x"})[0]
    assert f"sbatch takes it for {option}, which is set by" in refused(beginning)


@pytest.mark.parametrize(
    "name", ["", "--nice", "-w", "mail_user", "Nice", "nice x", "nice=1\n#SBATCH --array", "ä"]
)
def test_what_is_no_name_of_an_option_is_refused(name: str) -> None:
    assert "is not the long name of an option" in option_problems({name: "x"})[0]
    assert "is not the long name of an option" in refused(name)


@pytest.mark.parametrize(
    "value",
    [
        "lrdn[1-4]",
        "-x",
        "--array=0-9",
        'it\'s a "$HOME" `touch trap` $(touch trap) ;# #SBATCH --array=0-9',
        "# no comment",
        " blanks ",
        "100%j é",
        "x" * 1000,
    ],
)
def test_a_value_stays_one_value_of_its_option(value: str, tmp_path: Path) -> None:
    def script(options: dict[str, str | int]) -> list[str]:
        job = BatchJob(
            name="wconv",
            folder=tmp_path,
            command="true",
            code=None,
            options=options,
            walltime_min=1,
            grace_s=1,
        )
        return batch_script(job, None).splitlines()

    assert option_problems({"comment": value}) == []
    (line,) = [each for each in script({"comment": value}) if each not in script({})]

    assert shlex.split(line.removeprefix("#SBATCH "), comments=True) == [f"--comment={value}"]


@pytest.mark.parametrize(
    "value",
    ["a\nb", "a\r#SBATCH --array=0-9", "a\u2028b", "\x00", "\x1b[31m", "tab\t", "\\", "x" * 1001],
)
def test_a_value_that_could_end_the_line_or_its_quotes_is_refused(value: str) -> None:
    """To sbatch, a backslash quotes the next character, also between quotes."""
    (problem,) = option_problems({"comment": value})

    assert problem.startswith("--sbatch comment: must not ")
    assert "sbatch.comment: must not " in refused("comment", value)


@pytest.mark.parametrize(
    "value", ["postgresql://me:hunter2@db/x", "DB_PASSWORD=hunter2", "api_key: hunter2"]
)
def test_a_secret_is_refused_and_not_repeated(value: str) -> None:
    for problem in (option_problems({"comment": value})[0], refused("comment", value)):
        assert "looks like a secret" in problem
        assert "hunter2" not in problem


def test_an_option_without_a_value_is_true_in_a_profile_and_stands_alone_on_the_command_line() -> (
    None
):
    assert profile(sbatch={"contiguous": True, "nice": 5}).sbatch == {
        "contiguous": True,
        "nice": 5,
    }
    assert parse_option("contiguous") == ("contiguous", True)
    assert parse_option("extra=a=b") == ("extra", "a=b")
    assert [shown_option(*parse_option(text)) for text in ("contiguous", "a=b", "a=")] == [
        "contiguous",
        "a=b",
        "a=",
    ]


@pytest.mark.parametrize("value", [None, False, 1.5, [1], {"a": 1}, ""])
def test_no_other_kind_of_value_is_passed_on(value: object) -> None:
    problem = refused("comment", value)  # type: ignore[arg-type]

    assert "takes a text, an integer, or true for an option without a value" in problem
