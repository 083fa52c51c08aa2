"""docs/operator.ipynb runs with torch and the operator alone, and prints what it shows."""

import ast
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOK = DOCS / "operator.ipynb"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that runs the notebook and shows it on the site."""
    monkeypatch.syspath_prepend(str(DOCS / "hooks"))
    return importlib.import_module("notebook_page")


def test_the_outputs_that_are_stored_are_what_the_cells_print(hook: Any) -> None:
    notebook = hook.read_notebook(NOTEBOOK)

    # If not: python docs/hooks/notebook_page.py
    assert hook.with_outputs(notebook) == notebook


def test_it_needs_torch_and_the_operator_alone(hook: Any) -> None:
    cells = hook.read_notebook(NOTEBOOK)["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    packages = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else _names(node))
    }

    assert packages - set(sys.stdlib_module_names) == {"torch", "wconv_kernels"}


def _names(node: ast.Import) -> list[str]:
    return [alias.name for alias in node.names]


def test_a_page_of_the_site_shows_its_cells_with_their_outputs(hook: Any) -> None:
    page = (DOCS / "operator_notebook.md").read_text("utf-8")

    shown = hook.on_page_markdown(page)

    assert "<!-- notebook" not in shown
    assert "```python\nimport torch\n" in shown
    assert "```text\nequal loss: True\nequal weights: True\n```" in shown
