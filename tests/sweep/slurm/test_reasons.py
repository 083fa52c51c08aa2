"""Why a job waits, and how it ended, is said in words with what to do."""

from pathlib import Path

import pytest

from wconv_sweep.slurm.limit_words import limit_in, limit_word
from wconv_sweep.slurm.reasons import explain, in_words, is_held, never_starts

WORDS = [
    line.split()[0]
    for line in (Path(__file__).parent / "reason_words.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]


def test_every_word_of_both_versions_has_a_sentence() -> None:
    assert len(WORDS) == 221
    assert [word for word in WORDS if explain(word) is None] == []


def test_a_word_of_a_limit_that_no_version_has_yet_is_explained() -> None:
    for word in ("AssocGrpJobMinutes", "QOSGrpSubmitJobRunMinutes", "QOSMaxJobMinutesPerUser"):
        assert "jobs of" in str(explain(word)), word


def test_a_sentence_stands_in_a_line_and_others_may_follow_it() -> None:
    for word in WORDS:
        sentence = str(explain(word))
        assert "\n" not in sentence
        assert "  " not in sentence
        assert not sentence.endswith(".")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (
            "AssocGrpGRESMinutes",
            "the project's GPU-hours are used up, or fewer are left than it may take: lower "
            "--time, choose another --account, or ask the site for more",
        ),
        (
            "QOSMaxGRESPerUser",
            "running jobs of yours have all the GPUs that the QOS allows at a time: it starts "
            "when some have ended; where none runs, it asks for more than that and never starts",
        ),
        (
            "MaxJobsPerAccount",
            "as many jobs of the project run as the QOS allows at a time: it starts when some "
            "have ended",
        ),
        (
            "QOSGrpCPURunMinutesLimit",
            "running jobs of the QOS may still take all the CPU-hours that the QOS allows: it "
            "starts when they have less time left, and sooner with a shorter --time",
        ),
        (
            "AssocMaxWallDurationPerJobLimit",
            "its time limit is longer than the project allows, so it will never start: cancel it "
            "with scancel and launch again; lower --time or walltime_min in the profile, or "
            "choose another --account",
        ),
        (
            "QOSMinGRES",
            "it asks for fewer GPUs than the QOS demands of a job, so it will never start: cancel "
            "it with scancel and launch again; raise --nodes or gpus_used_per_node in the "
            "profile, or choose another --qos",
        ),
        (
            "QOSMaxMemoryMinutesPerJob",
            "it asks for more memory-hours in a job than the QOS allows, so it will never start: "
            "cancel it with scancel and launch again; lower --time or --nodes or mem_per_gpu_mb "
            "in the profile, or choose another --qos",
        ),
    ],
)
def test_limits_are_told_by_whose_they_are_what_they_limit_and_of_whom(
    word: str, sentence: str
) -> None:
    assert in_words(word) == f"{word}: {sentence}"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("ReqNodeNotAvail, UnavailableNodes:lrdn0001", "down, drained or kept for others"),
        ("ReqNodeNotAvail, May be reserved for other job", "kept for another job"),
        ("ReqNodeNotAvail, Reserved for maintenance", "a maintenance begins before it would end"),
        ("ReqNodeNotAvail(Unavailable:n1)", "not available at this moment"),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority "
            "partitions",
            "down, drained or kept for other partitions",
        ),
        ("job requeued in held state", "`scontrol release`"),
        ("launch failed requeued held", "a node could not start it"),
        ("RaisedSignal:9(Killed)", "a signal killed the batch script"),
        ("FAILED, RaisedSignal:9(Killed)", "a signal killed the batch script"),
        ("FAILED, exit status 0:9", "signal 9 killed the batch script"),
        ("FAILED, exit status 3:0", "ended with exit status 3"),
        ("FAILED, None", "ended with an error"),
        ("CANCELLED by 1000", "scancel"),
        ("BeginTime after NODE_FAIL", "; its last run: the site lost one of its nodes"),
        ("Priority after FAILED, exit status 1:0", "; its last run: the batch script ended with"),
    ],
)
def test_words_with_blanks_or_with_more_behind_them_are_known(reason: str, words: str) -> None:
    assert words in str(explain(reason))


@pytest.mark.parametrize("reason", ["Quux", "PriorityOfMars", "", "COMPLETED", "QOSMaxQuuxPerJob"])
def test_a_reason_that_nobody_knows_stays_alone(reason: str) -> None:
    assert in_words(reason) == reason
    assert not never_starts(reason)


@pytest.mark.parametrize(
    ("reason", "never"),
    [
        ("PartitionTimeLimit", True),
        ("PartitionNodeLimit", True),
        ("PartitionTimeLimit after PREEMPTED", True),
        ("QOSMaxWallDurationPerJobLimit", True),
        ("QOSMaxNodePerJobLimit after TIMEOUT", True),
        ("AssocMaxGRESPerJob", True),
        ("QOSMaxCpuPerNode", True),
        ("QOSMinNode", True),
        ("QOSMaxGRESPerUser", False),
        ("MaxNodePerAccount", False),
        ("AssocGrpGRES", False),
        ("AssocGrpGRESMinutes", False),
        ("AssocMaxJobsLimit", False),
        ("QOSMaxSubmitJobPerUserLimit", False),
        ("PartitionDown", False),
        ("ReqNodeNotAvail, UnavailableNodes:n1", False),
        ("Priority", False),
    ],
)
def test_what_can_never_start_is_told_from_what_only_waits(reason: str, never: bool) -> None:
    assert never_starts(reason) is never
    assert ("so it will never start" in str(explain(reason))) is never


def test_jobs_that_wait_for_a_release_are_told_from_the_others() -> None:
    free_text = ["job requeued in held state", "launch failed requeued held"]

    held = [word for word in [*WORDS, *free_text] if is_held(word)]

    assert held == ["JobHeldAdmin", "JobHeldUser", "JobHoldMaxRequeue", *free_text]


def test_a_limit_is_found_in_a_message_and_its_parts_are_told_apart() -> None:
    found = limit_in(
        "sbatch: error: QOSMaxGRESPerUser / Batch job submission failed: Job violates"
    )

    assert found == limit_word("QOSMaxGRESPerUser")
    assert found is not None
    assert (found.of_account, found.kind, found.what, found.of) == (False, "Max", "GRES", "User")
    assert limit_in("sbatch: error: MaxArraySize, MaxMemPerLimit") is None
