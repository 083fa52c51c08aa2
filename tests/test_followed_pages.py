"""Pages of the documentation, followed word for word with what README installs, lead to results.

The network of the quickstart is trained once, by README's first command; the pages after it go on
from that study, like a reader who has come so far. docs/own-model.md is followed in
test_own_model.py, and test_docs.py sees to it that no page is left out.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.borrowed import borrowing_environment
from tests.pages import PROGRAMS, ROOT, Block, blocks, follow
from tests.sweep.tiny import TINY
from wconv_kernels import load_density

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
AS_ROOT = {"wconv-sweep db start": "wconv-sweep db start --user nobody"}


def clone(folder: Path, programs: Path) -> Path:
    """Copy the files of the repository, with an environment that needs no installing."""
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    patterns = [pattern.rstrip("/") for pattern in ignored]
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", *patterns))
    (folder / ".venv").symlink_to(programs.parent)
    return folder


def readme(language: str, title: str = "") -> list[Block]:
    """Return the blocks of a kind that README shows."""
    shown = blocks(ROOT / "README.md")
    return [block for block in shown if (block.language, block.title) == (language, title)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the sources into an environment that has their dependencies, as README says."""
    folder = tmp_path_factory.mktemp("install into here")
    programs = borrowing_environment(folder)
    (install,) = readme("sh", "needs the network")
    subprocess.run(
        ["bash", "-ec", install.content],
        cwd=clone(folder / "wconv-sweep", programs),
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PIP_QUIET": "1"},
        check=True,
    )
    (programs.parent / ".for-run").touch()  # what `make` would install is there
    return programs


@pytest.fixture(scope="module")
def trained(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the study of README by its first command; return the folder of all runs."""
    folder = clone(tmp_path_factory.mktemp("trained") / "wconv-sweep", installed)
    environment = os.environ | {"PATH": f"{installed}:{os.environ['PATH']}"}
    first_command = readme("sh")[0].content.splitlines()[0]
    subprocess.run(["bash", "-ec", first_command], cwd=folder, env=environment, check=True)
    return folder / "wconv_runs"


@pytest.fixture
def going_on(trained: Path, tmp_path: Path) -> Path:
    """A folder in which the study of README has ended."""
    shutil.copytree(trained, tmp_path / "wconv_runs")
    return tmp_path


@pytest.fixture
def going_on_in_a_clone(trained: Path, installed: Path, tmp_path: Path) -> Path:
    """A clone in which the study of README has ended."""
    folder = clone(tmp_path / "wconv-sweep", installed)
    shutil.copytree(trained, folder / "wconv_runs")
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; the servers that were started in it are stopped."""
    with tempfile.TemporaryDirectory(prefix="wconv-page-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        for server in folder.glob("wconv_runs/*/server.json"):
            program = str(PROGRAMS / "wconv-sweep")
            command = [program, "db", "stop", "--folder", str(server.parent)]
            subprocess.run(command, check=True, capture_output=True)


def test_readme(going_on_in_a_clone: Path, installed: Path) -> None:
    folder = going_on_in_a_clone

    printed = follow("README.md", folder, installed)
    five_lines = "\n".join(block.content for block in readme("python"))
    subprocess.run([installed / "python", "-c", five_lines], cwd=folder, check=True)

    assert "quickstart: PSNR on the test set, fresh seeds" in printed
    assert "http://127.0.0.1:" in printed
    assert len(readme("python")) == 2
    assert len(load_density(folder / "densities.yaml", "quickstart")) == 1
    assert (folder / "pictures/quickstart/density.png").stat().st_size > 10_000
    assert (folder / "networks/quickstart/model.safetensors").exists()
    assert "</html>" in (folder / "report.html").read_text("utf-8")


def test_the_first_page(going_on_in_a_clone: Path, installed: Path) -> None:
    printed = follow("docs/index.md", going_on_in_a_clone, installed)

    assert "15 trials complete, 0 failed" in printed
    assert len(load_density(going_on_in_a_clone / "densities.yaml", "quickstart")) == 1
    assert "</html>" in (going_on_in_a_clone / "report.html").read_text("utf-8")


def test_the_tutorial(going_on: Path, installed: Path) -> None:
    printed = follow("docs/tutorial.md", going_on, installed)

    assert "Nothing was written or started (--dry-run)." in printed
    assert "quickstart: PSNR on the test set" in printed
    assert "15 trials complete, 0 failed" in printed
    assert "http://127.0.0.1:" in printed
    assert "mine: PSNR" in printed
    assert len(load_density(going_on / "densities.yaml", "quickstart")) == 1
    assert "</html>" in (going_on / "report.html").read_text("utf-8")
    assert "wconv-sweep" in (going_on / ".bashrc").read_text("utf-8")


def test_the_page_on_other_tools(going_on: Path, installed: Path) -> None:
    """Each row of its table names a command; what they print is what the row says."""
    printed = follow("docs/comparison.md", going_on, installed)

    assert "15 trials complete, 0 failed" in printed
    assert '"study_seed": 0' in printed
    assert "no difference to plain convolution shown" in printed
    assert "of which the density multiplies" in printed
    assert "Nothing was written or started (--dry-run)." in printed
    assert "boost_usr_prod" in printed
    assert "✓" in printed
    assert "✗" not in printed
    assert "</html>" in (going_on / "report.html").read_text("utf-8")
    assert (going_on / "networks/quickstart/model.safetensors").exists()


def test_the_pages_on_study_files_and_the_paper(going_on: Path, installed: Path) -> None:
    """One after the other, since both try the same study at smoke scale."""
    printed = follow("docs/studies.md", going_on, installed)
    follow("docs/reproduction.md", going_on, installed)

    assert f"study:{' ' * 16}mine_long" in printed
    assert (going_on / "simulation.png").stat().st_size > 10_000
    assert {path.name for path in (going_on / "wconv_runs").iterdir() if path.is_dir()} >= {
        "mine",
        "dncnn_5x5_smoke",
    }
    assert "\\begin{tabular}" in (going_on / "tables.tex").read_text("utf-8")
    header, *rows = (going_on / "dncnn_5x5_smoke.csv").read_text("utf-8").splitlines()
    assert header.startswith("table,study,recipe,architecture,kernel_size,variant,density,")
    assert rows
    assert all(row.startswith(",dncnn_5x5_smoke,") for row in rows)


def test_the_page_on_claims(tmp_path: Path, installed: Path) -> None:
    printed = follow("docs/search.md", tmp_path, installed)

    assert "mine_confirmed_smoke: PSNR on the test set, fresh seeds" in printed
    assert "initial weights alone" in printed
    assert "gradient alone" in printed


def test_the_page_on_samplers(tmp_path: Path) -> None:
    printed = follow("docs/search_benchmark.md", clone(tmp_path / "wconv-sweep", PROGRAMS))

    assert "## 1 coefficient(s), 36 trials" in printed
    assert "\n| `random` | any | 4 |" in printed


def test_the_page_on_clusters(tmp_path: Path, installed: Path) -> None:
    printed = follow("docs/clusters.md", tmp_path, installed)

    assert "jean_zay" in printed
    assert "✓" in printed
    assert "✗" not in printed
    for name in ("cluster.schema.json", "study.schema.json"):
        assert '"$schema"' in (tmp_path / name).read_text("utf-8")


def test_the_page_on_storage(going_on: Path, installed: Path) -> None:
    printed = follow("docs/storage.md", going_on, installed)

    assert f"sqlite:///{going_on}/studies.db" in printed
    assert not (going_on / "studies.db").exists()
    assert "sweep_backup.db: 1 study" in printed


def test_the_page_on_databases(open_folder: Path) -> None:
    printed = follow("docs/database.md", open_folder, as_root=AS_ROOT)

    assert "quickstart_smoke: PSNR on the test set" in printed
    assert printed.count("studies.backup: 1 study") == 2
    assert not list(open_folder.rglob("*.db"))


def test_the_page_on_failures(tmp_path: Path, installed: Path) -> None:
    """The page retries a trial that failed for want of a file, which is there by now."""
    wanted = tmp_path / "wanted.pt"
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, 3, padding=1))\n"
        f"\n\ndef load():\n    images = torch.load({str(wanted)!r})\n"
        "    return dict.fromkeys(('train', 'validation', 'test'), (images, images))\n"
    )
    study = TINY | {
        "study": "quickstart",
        "code": ".",
        "model": {"name": "mine:build"},
        "data": {"name": "mine:load", "kind": "denoising"},
        "budget": {"trials": 1, "max_attempts": 1},
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(study))
    program = str(installed / "wconv-sweep")
    launch = [program, "launch", "--cluster", "local", "--study", "mine.yaml"]
    failed = subprocess.run(launch, cwd=tmp_path, capture_output=True, text=True)
    assert failed.returncode == 1, failed.stderr
    assert "wanted.pt" in failed.stdout + failed.stderr
    torch.save(torch.rand(16, 1, 16, 16, generator=torch.Generator().manual_seed(0)), wanted)

    printed = follow("docs/failures.md", tmp_path, installed)

    assert "1 trials complete, 0 failed" in printed


def test_the_packages_bring_their_type_information(installed: Path) -> None:
    code = (
        "from importlib.resources import files\n"
        "for package in ('wconv_sweep', 'wconv_jobs', 'wconv_kernels', 'wconv_trial'):\n"
        "    assert files(package).joinpath('py.typed').is_file(), package\n"
    )

    subprocess.run([str(installed / "python"), "-c", code], check=True)
