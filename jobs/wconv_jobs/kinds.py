"""The kinds of tasks; a metric says which of them it belongs to."""

from typing import Literal

TaskKind = Literal["denoising", "classification"]
