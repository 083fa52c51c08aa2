"""A profile says what is known of a site, from whom, and nothing that a shell could run."""

import datetime
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.profiles import SITE, profile
from wconv_sweep.clusters.profile import (
    PACKAGE,
    LocalProfile,
    SlurmProfile,
    check_profile,
    load_profile,
    own_folder,
)
from wconv_sweep.clusters.sources import facts_of, sources_of, verified_share
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.resources import shipped
from wconv_sweep.yaml_files import Document, read_document

SOURCE = {"source": "a page", "date": datetime.date(2025, 3, 20), "verified": True}
LOCAL = "{schema: 1, cluster: mine, launcher: local, pilots: 1, gpus_per_pilot: 0}\n"


def problems(**keys: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        profile(**keys)
    return caught.value.problems


@pytest.mark.parametrize("name", shipped(PACKAGE))
def test_every_fact_of_a_shipped_profile_has_one_source(name: str) -> None:
    # That none has two is checked whenever a profile is read.
    found = load_profile(name)

    if isinstance(found, SlurmProfile):
        assert [key for key, source in sources_of(found).items() if source is None] == []


@pytest.mark.parametrize("name", shipped(PACKAGE))
def test_no_address_in_a_source_of_a_shipped_profile_is_torn_by_a_line_break(name: str) -> None:
    # YAML makes a blank of a line break in a folded text.
    found = load_profile(name)

    if isinstance(found, SlurmProfile):
        assert [source.source for source in found.sources if "/ " in source.source] == []


@pytest.mark.parametrize("name", shipped(PACKAGE))
def test_no_shipped_profile_names_an_account_or_pays_for_more_than_one_pilot(name: str) -> None:
    found = load_profile(name)

    assert found.pilots == 1
    if isinstance(found, SlurmProfile):
        assert (found.account, found.nodes, found.wckey) == (None, 1, None)


def test_lanes_of_a_profile_with_gpus_are_refused_for_the_gpus_say_how_many_there_are() -> None:
    content = {"schema": 1, "cluster": "here", "launcher": "local", "walltime_min": 60}

    with pytest.raises(ConfigurationError, match=r"lanes is 2, but with gpus_per_pilot: 4"):
        check_profile(
            Document("here", {**content, "pilots": 1, "gpus_per_pilot": 4, "lanes": 2}, {})
        )


def test_the_launcher_chooses_the_kind_of_profile() -> None:
    assert isinstance(load_profile("local"), LocalProfile)
    assert isinstance(load_profile("leonardo"), SlurmProfile)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            {"schema": 1},
            "site.yaml:1: launcher: takes local or slurm (is required, but missing)",
        ),
        (
            {"launcher": "pbs"},
            "site.yaml:1: launcher: takes local or slurm (it is 'pbs')",
        ),
        (
            {"launcher": ["slurm"]},
            "site.yaml:1: launcher: takes local or slurm (it is ['slurm'])",
        ),
    ],
)
def test_a_file_without_a_launcher_is_told_which_there_are(
    content: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_profile(Document("site.yaml", content, {}))

    assert caught.value.problems == (problem,)


def test_a_misspelled_limit_is_named_with_the_nearest_one() -> None:
    known = {"normal": {"max_node": 4}}

    (problem,) = problems(qos={"known": known})

    assert "qos.known.normal" in problem
    assert "Did you mean 'max_nodes'?" in problem


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"gpus_used_per_node": 5}, r"gpus_used_per_node \(5\) is more than gpus_per_node \(4\)"),
        ({"grace_s": 3600}, r"grace_s \(3600 s\) leaves nothing of walltime_min \(60 min\)"),
        ({"qos": {"default": "a", "known": {"b": {}}}}, "default: 'a' is not among known: b"),
        ({"qos": {"unnamed": "a", "known": {"b": {}}}}, "unnamed: 'a' is not among known: b"),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        profile(**keys)


def test_the_old_key_of_the_gpus_that_a_job_takes_gets_the_new_one() -> None:
    with pytest.raises(ConfigurationError, match=r"gpus: is now gpus_used_per_node\. Rename"):
        profile(gpus=2)


# Sources ---------------------------------------------------------------------------------------


def test_a_source_stands_for_all_keys_inside_the_one_it_names() -> None:
    found = profile(
        qos={"known": {"normal": {"max_nodes": 4, "max_walltime_min": 60}, "debug": {}}},
        sources=[
            SOURCE | {"facts": ["qos.known.normal", "gpus_per_node"]},
            SOURCE | {"facts": ["qos.known.debug"], "verified": False},
        ],
    )

    sources = sources_of(found)

    assert sources["qos.known.normal.max_walltime_min"] == found.sources[0]
    assert sources["qos.known.debug"] == found.sources[1]
    assert sources["cpus_per_node"] is None
    # qos.known.normal's two, debug, gpus_per_node, cpus_per_node, cpus_per_gpu, two of memory.
    assert len(sources) == 8
    assert verified_share(found) == 3 / 8


def test_what_somebody_wants_is_no_fact_about_the_site() -> None:
    wishes: dict[str, Any] = {
        "pilots": 3,
        "nodes": 2,
        "gpus_used_per_node": 2,
        "account": "mine",
        "grace_s": 60,
    }

    assert facts_of(profile(**wishes)) == facts_of(profile())


def test_a_source_of_nothing_and_a_second_source_are_refused() -> None:
    sources = [
        SOURCE | {"facts": ["gpus_per_node", "gpu_typ"]},
        SOURCE | {"facts": ["gpus_per_node"], "source": "another page"},
    ]

    unknown, twice = problems(sources=sources)

    assert "sources.0.facts.1: 'gpu_typ' is not a fact that this file gives" in unknown
    assert "'gpus_per_node': gpus_per_node has a source already, 'a page'" in twice


# What reaches a batch script -------------------------------------------------------------------

INJECTIONS = ["a; rm -rf ~", "$(id)", "`id`", "a b", "a\nb", "a'b", 'a"b', "-x", "", "a|b", "a>b"]


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("key", ["account", "wckey", "gpu_type"])
def test_no_name_can_be_a_command(key: str, text: str) -> None:
    (problem,) = problems(**{key: text})

    assert problem.startswith(f"site.yaml:10: {key}: may contain only letters")


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_name_of_a_partition_a_qos_or_a_module_can_be_a_command(text: str) -> None:
    found = problems(partition={"default": text}, qos={"known": {text: {}}}, modules=[text])

    assert len(found) == 3


@pytest.mark.parametrize("text", ["gpu&hbm80g; id", "$(id)", "a\nb", "a b", "a'b"])
def test_no_constraint_can_be_a_command(text: str) -> None:
    assert len(problems(constraint=text)) == 1


def test_a_constraint_may_combine_features() -> None:
    assert profile(constraint="gpu&hbm80g").constraint == "gpu&hbm80g"
    assert profile(constraint="[rack1|rack2]*2").constraint == "[rack1|rack2]*2"


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("module purge", "module purge"),
        ("module use /apps/modules", "module use /apps/modules"),
        ("source $WORK/env/bin/activate", 'source "$WORK/env/bin/activate"'),
        ("source ${WORK}/env/bin/activate", 'source "${WORK}/env/bin/activate"'),
        ("ulimit -c 0", "ulimit -c 0"),
    ],
)
def test_a_command_of_the_setup_becomes_a_line_that_does_just_this(
    command: str, line: str
) -> None:
    assert profile(setup=[command]).setup_lines == (line,)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("rm -rf /", "takes only the commands module, source, ulimit, umask"),
        ("module purge; id", "'purge;' holds characters that the shell would take for its own"),
        ("source $(id)", "holds characters"),
        ("source `id`", "holds characters"),
        ("source <(id)", "holds characters"),
        ("module load a\nid -u", None),
        ("source 'a", "is not a command: No closing quotation"),
        ("", "takes only the commands"),
    ],
)
def test_a_setup_that_the_shell_would_read_otherwise_is_refused(
    command: str, problem: str | None
) -> None:
    if problem is None:
        # A line break separates words like a blank: what follows it is an argument.
        assert profile(setup=[command]).setup_lines == ("module load a id -u",)
        return
    (found,) = problems(setup=[command])

    assert problem in found


def test_a_folder_with_blanks_and_quotes_in_a_variable_is_sourced_as_one(tmp_path: Path) -> None:
    folder = tmp_path / "a 'b' $c;d"
    folder.mkdir()
    (folder / "file.sh").write_text("echo read\n")
    (line,) = profile(setup=["source $FOLDER/file.sh"]).setup_lines

    output = subprocess.run(
        ["bash", "-c", line], env={"FOLDER": str(folder)}, capture_output=True, text=True
    )

    assert (output.stdout, output.stderr) == ("read\n", "")


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        ("A B", "is not a variable name"),
        ("A=1;", "is not a variable name"),
        ("PYTHONPATH", "is set by the batch script or by SLURM"),
        ("SLURM_JOB_ID", "is set by the batch script or by SLURM"),
        ("SBATCH_QOS", "is set by the batch script or by SLURM"),
        ("PGPASSWORD", "looks like a secret"),
        ("WANDB_API_KEY", "looks like a secret"),
    ],
)
def test_variables_that_are_no_business_of_a_profile_are_refused(
    variable: str, problem: str
) -> None:
    (found,) = problems(env={variable: "x"})

    assert f"'{variable}' {problem}" in found


def test_a_value_of_a_variable_stays_on_its_line() -> None:
    assert profile(env={"A": "$(id) 'x'"}).env == {"A": "$(id) 'x'"}
    assert "must not hold a line break" in problems(env={"A": "x\nid"})[0]


# Where profiles are found ----------------------------------------------------------------------


def test_a_profile_in_the_users_folder_is_found_by_name_and_goes_before_a_shipped_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = own_folder()
    folder.mkdir(parents=True)
    for name in ("mine", "leonardo"):
        (folder / f"{name}.yaml").write_text(LOCAL.replace("}", ", walltime_min: 7}"))

    assert folder == tmp_path / "wconv-sweep" / "clusters"
    assert load_profile("mine").walltime_min == 7
    assert load_profile("leonardo").walltime_min == 7


def test_a_mistake_in_the_users_folder_is_named_with_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own_folder().mkdir(parents=True)
    path = own_folder() / "mine.yaml"
    path.write_text(LOCAL)

    with pytest.raises(ConfigurationError) as caught:
        load_profile("mine")

    assert caught.value.problems == (f"{path}:1: walltime_min: is required, but missing",)


def test_a_name_that_nobody_has_is_told_both_places(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    with pytest.raises(ConfigurationError) as caught:
        load_profile("leonrado")

    assert str(caught.value) == (
        "--cluster leonrado: no cluster of this name is shipped or lies in "
        f"{own_folder()}. Did you mean 'leonardo'? For a file of your own, give its path ending "
        "in .yaml."
    )


@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_a_config_home_that_is_no_absolute_path_is_ignored(value: str) -> None:
    home = Path("~/.config/wconv-sweep/clusters").expanduser()

    assert own_folder({"XDG_CONFIG_HOME": value}) == home
    assert own_folder({}) == home


def test_a_profile_in_a_file_is_read_like_one_of_tests(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in SITE.items()))

    assert check_profile(read_document(path, "site.yaml")) == profile()
