"""`clusters`: which profiles there are, and how well what they say is known."""

import json
from pathlib import Path

import pytest

from tests.sweep.tiny import run
from wconv_sweep.clusters.profile import PACKAGE, own_folder
from wconv_sweep.study.resources import shipped

Monkey = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]

MINE = """schema: 1
cluster: leonardo
launcher: slurm
walltime_min: 30
account: EUHPC_D01_001
gpus_per_node: 4
partition: {default: boost_usr_prod}
qos: {default: debug, known: {debug: {max_nodes: 2, max_walltime_min: 90}}}
billing: {unit: core-hours, per_node: 32}
sources:
  - facts: [gpus_per_node, partition]
    source: somebody in the next office
    date: 2026-01-31
    verified: false
"""


@pytest.fixture
def own(monkeypatch: Monkey, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = own_folder()
    folder.mkdir(parents=True)
    return folder


def test_all_shipped_profiles_are_listed(monkeypatch: Monkey, capsys: Capture, own: Path) -> None:
    status, output, errors = run(monkeypatch, capsys, "clusters", "list")

    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines()[1:]}
    assert (status, errors) == (0, "")
    assert rows.keys() == set(shipped(PACKAGE))
    assert rows["local"] == ["local", "0", "-", "-", "-", "shipped"]
    assert rows["leonardo"][:4] == ["slurm", "4", "64", "24"]
    assert rows["lumi"][:4] == ["slurm", "8", "1024", "48"]
    assert rows["marenostrum5"] == ["slurm", "4", "100", "72", "16", "%", "shipped"]


def test_a_profile_of_the_users_own_is_listed_in_place_of_a_shipped_one(
    monkeypatch: Monkey, capsys: Capture, own: Path
) -> None:
    (own / "leonardo.yaml").write_text(MINE)

    _, output, _ = run(monkeypatch, capsys, "clusters", "list")
    _, json_output, _ = run(monkeypatch, capsys, "clusters", "list", "--json")

    (row,) = [line for line in output.splitlines() if line.startswith("leonardo")]
    (entry,) = [each for each in json.loads(json_output) if each["cluster"] == "leonardo"]
    assert "your own, instead of the shipped one" in row
    assert entry == {
        "cluster": "leonardo",
        "launcher": "slurm",
        "gpus_per_node": 4,
        "max_nodes": 2,
        "max_hours": 1.5,
        "verified": 0.0,
        "own": True,
        "hides_shipped": True,
        "path": str(own / "leonardo.yaml"),
    }


def test_a_wrong_profile_of_the_users_own_does_not_hide_the_others(
    monkeypatch: Monkey, capsys: Capture, own: Path
) -> None:
    (own / "mine.yaml").write_text(MINE.replace("per_node: 32", "per_nod: 32"))

    status, output, errors = run(monkeypatch, capsys, "clusters", "list")

    assert status == 2
    assert len(output.splitlines()) == 1 + len(shipped(PACKAGE))
    assert f"{own / 'mine.yaml'}:9: billing.per_nod: is not a known key." in errors


def test_a_profile_is_shown_with_the_source_of_every_fact_in_80_columns(
    monkeypatch: Monkey, capsys: Capture, own: Path
) -> None:
    (own / "mine.yaml").write_text(MINE)

    status, output, errors = run(monkeypatch, capsys, "clusters", "show", "mine")

    assert (status, errors) == (0, "")
    assert output.splitlines() == [
        f"mine (your own): {own / 'mine.yaml'}",
        "",
        "  walltime_min: 30",
        "  launcher: slurm",
        "  account: EUHPC_D01_001",
        "",
        "Not verified, 2026-01-31: somebody in the next office",
        "  partition.default: boost_usr_prod",
        "  gpus_per_node: 4",
        "",
        "No source:",
        "  qos.default: debug",
        "  qos.known.debug.max_nodes: 2",
        "  qos.known.debug.max_walltime_min: 90",
        "  billing.unit: core-hours",
        "  billing.per_node: 32",
    ]


def test_an_address_in_a_source_stays_whole(
    monkeypatch: Monkey, capsys: Capture, own: Path
) -> None:
    address = "docs.example.org/the-cluster/queues-and-limits"
    text = MINE.replace("somebody in the next office", f"the guide of the site, at {address}")
    (own / "mine.yaml").write_text(text)

    _, output, _ = run(monkeypatch, capsys, "clusters", "show", "mine")

    assert address in output.splitlines()


@pytest.mark.parametrize("name", shipped(PACKAGE))
def test_every_shipped_profile_fits_into_80_columns(
    name: str, monkeypatch: Monkey, capsys: Capture, own: Path
) -> None:
    _, output, _ = run(monkeypatch, capsys, "clusters", "show", name)

    # The first line holds the path, which may be long.
    assert [line for line in output.splitlines()[1:] if len(line) > 80] == []
    assert "No source" not in output


def test_a_profile_is_shown_for_scripts(monkeypatch: Monkey, capsys: Capture, own: Path) -> None:
    (own / "mine.yaml").write_text(MINE)

    _, output, _ = run(monkeypatch, capsys, "clusters", "show", str(own / "mine.yaml"), "--json")

    shown = json.loads(output)
    facts = {fact["key"]: fact for fact in shown["facts"]}
    assert shown["profile"]["qos"]["known"]["debug"]["max_nodes"] == 2
    assert shown["profile"]["pilots"] == 1
    assert facts["gpus_per_node"] == {
        "key": "gpus_per_node",
        "value": 4,
        "source": {
            "source": "somebody in the next office",
            "date": "2026-01-31",
            "verified": False,
        },
    }
    assert facts["qos.default"]["source"] is None


def test_a_profile_that_does_not_exist_is_one_line(
    monkeypatch: Monkey, capsys: Capture, own: Path
) -> None:
    status, output, errors = run(monkeypatch, capsys, "clusters", "show", "lummi")

    assert (status, output) == (2, "")
    assert len(errors.splitlines()) == 1
    assert "Did you mean 'lumi'?" in errors
