"""The Python blocks of docs/operator.md run as they are shown."""

import re
from pathlib import Path
from typing import Any

import torch

PAGE = Path(__file__).parents[2] / "docs" / "operator.md"


def test_the_blocks_of_the_operator_page_run_in_order() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    namespace: dict[str, Any] = {}

    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), namespace)

    assert len(blocks) == 8
    assert isinstance(namespace["deployable"]["0.weight"], torch.Tensor)
