"""Shows a notebook on a page; `python docs/hooks/notebook_page.py` runs it and stores its outputs.

A page asks with a line of its own: `<!-- notebook: operator.ipynb -->`. A notebook is JSON, and
this one only prints, so neither Jupyter nor a converter is needed.
"""

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
NOTEBOOK = DOCS / "operator.ipynb"
_REQUEST = re.compile(r"^<!-- notebook: ([\w-]+\.ipynb) -->$", re.MULTILINE)

Notebook = dict[str, Any]


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return a page with every request replaced by the cells; called by MkDocs."""
    return _REQUEST.sub(lambda found: _shown(read_notebook(DOCS / found[1])), markdown)


def read_notebook(path: Path) -> Notebook:
    """Return a notebook as it is stored."""
    notebook: Notebook = json.loads(path.read_text("utf-8"))
    return notebook


def with_outputs(notebook: Notebook) -> Notebook:
    """Return the notebook with what its cells print now, run from top to bottom."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells = []
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell["cell_type"] == "code":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
            cell = cell | {"outputs": _outputs(printed.getvalue())}
        cells.append(cell)
    return notebook | {"cells": cells}


def _outputs(printed: str) -> list[dict[str, Any]]:
    lines = printed.splitlines(keepends=True)
    return [{"name": "stdout", "output_type": "stream", "text": lines}] if lines else []


def _shown(notebook: Notebook) -> str:
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            parts.append(f"```text\n{''.join(output['text'])}```")
    return "\n\n".join(parts)


if __name__ == "__main__":
    text = json.dumps(with_outputs(read_notebook(NOTEBOOK)), indent=1, ensure_ascii=False)
    NOTEBOOK.write_text(text + "\n", "utf-8")
