"""An exported density is read back as it was found, and nothing else is taken for one."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wconv_kernels import DensityError, load_density

README = Path(__file__).parents[2] / "README.md"

TWO = [
    {"study": "small", "architecture": "dncnn", "kernel_size": 3, "density": [0.7]},
    {"study": "large", "architecture": "dncnn", "kernel_size": 5, "density": [0.1, 0.9]},
]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "densities.yaml"
    path.write_text(text, "utf-8")
    return path


def test_the_density_of_the_only_study_needs_no_name(tmp_path: Path) -> None:
    path = written(tmp_path, "- study: small\n  kernel_size: 3\n  density:\n  - 0.7\n")

    assert load_density(path) == (0.7,)


def test_one_of_several_studies_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps(TWO))

    assert load_density(path, "large") == (0.1, 0.9)
    with pytest.raises(DensityError, match=r"several studies \(small, large\); name one"):
        load_density(path)
    with pytest.raises(DensityError, match="holds no study medium, but small, large"):
        load_density(path, "medium")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no exported density"),
        ("42", "holds no exported density"),
        ("- study: a\n  density: [1.0]\n", "holds no exported density"),
        ("[" * 5000, "is neither YAML nor JSON"),
        ("a: [", "is neither YAML nor JSON"),
        ("- {study: a, kernel_size: 3, density: x}", "not a list and a number"),
        ("- {study: a, kernel_size: 5, density: [0.5]}", "the density has 1"),
        ("- {study: a, kernel_size: 3, density: [.nan]}", "density"),
        ("- !!python/object/apply:os.getcwd []", "is neither YAML nor JSON"),
    ],
)
@pytest.mark.slow
def test_what_is_no_export_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(DensityError, match=problem) as caught:
        load_density(path)
    assert str(path) in str(caught.value)


def test_the_five_lines_of_the_readme_apply_it_to_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    (block,) = [each for each in blocks if "load_density" in each]
    (tmp_path / "densities.yaml").write_text(
        json.dumps([TWO[0] | {"study": "quickstart"}]), "utf-8"
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    exec(block, names)

    assert names["network"][0].density.tolist() == pytest.approx(TWO[0]["density"])
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert type(names["plain"][0]) is nn.Conv2d
    assert torch.equal(names["network"](image), names["plain"](image))
