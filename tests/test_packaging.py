"""What users install is what was written: packages, data files, and a wheel that runs a study."""

import os
import subprocess
import sys
import tomllib
import venv
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_every_package_folder_is_listed_in_pyproject() -> None:
    """`find` cannot rename the data folders, so the list is explicit, and can be forgotten."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    sources: dict[str, str] = setuptools["package-dir"]

    def folder(package: str) -> Path:
        top, _, rest = package.partition(".")
        return ROOT.joinpath(sources[top], *rest.split("."))

    listed = {folder(package).resolve() for package in setuptools["packages"]}
    there = {
        path.parent.resolve()
        for top in ("wconv_sweep", "jobs", "kernels", "studies", "slurm_templates")
        for path in (ROOT / top).rglob("__init__.py")
    }

    assert listed == there


@pytest.mark.parametrize("name", ["kernels", "jobs"])
def test_a_source_root_is_no_package(name: str) -> None:
    """A package called `kernels` exists on PyPI, and would be shadowed."""
    assert not (ROOT / name / "__init__.py").exists()


@pytest.mark.parametrize(
    ("package", "name"),
    [("wconv_studies", "quickstart.yaml"), ("wconv_slurm_templates", "local.yaml")],
)
@pytest.mark.slow
def test_data_files_are_found_in_the_installed_package(package: str, name: str) -> None:
    assert files(package).joinpath(name).read_text("utf-8").startswith("#")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the sources, and install it with its dependencies, both as users do."""
    folder = tmp_path_factory.mktemp("install into here")
    environment = folder / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    wheels = folder / "wheels"
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, *pip, "wheel", "--no-deps", "-w", str(wheels), str(ROOT)], check=True
    )
    (wheel,) = wheels.glob("wconv_sweep-*.whl")
    constraints = str(ROOT / "constraints.txt")
    subprocess.run(
        [str(python), *pip, "install", "-c", constraints, "torch", str(wheel)], check=True
    )
    return environment / "bin"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_installed_wheel_runs_the_quickstart_from_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    program = str(installed / "wconv-sweep")
    command = [program, "launch", "--cluster", "local", "--study", "quickstart"]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}

    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert "quickstart: PSNR on the test part" in ended.stdout
    assert "15 trials complete, 0 failed" in ended.stdout
    assert ended.stderr == ""
    assert {path.name for path in tmp_path.iterdir()} == {"wconv_runs"}
    page = [program, "report", "--html", "report.html"]
    subprocess.run(page, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert "fresh seeds" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_installed_packages_bring_their_type_information(installed: Path) -> None:
    code = (
        "from importlib.resources import files\n"
        "for package in ('wconv_sweep', 'wconv_jobs', 'wconv_kernels'):\n"
        "    assert files(package).joinpath('py.typed').is_file(), package\n"
    )

    subprocess.run([str(installed / "python"), "-c", code], check=True)
