"""Brings the definitions of studies that a storage holds to the keys of today, digests included.

Each function stands for one version of the tables, and for good: it knows the keys as they were
before and after, and no class that goes on changing.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, String, column, func, select, table, update

Definition = dict[str, Any]

_STUDIES = table("wconv_studies", column("study", String), column("config"), column("provenance"))
_SLOTS = table(
    "wconv_slots", column("slot"), column("study"), column("trial_id"), column("provenance")
)
_ATTEMPTS = table("wconv_attempts", column("slot"), column("provenance"))
_ATTRIBUTES = table("trial_user_attributes", column("trial_id"), column("key"))


def bring_definitions_to_3(connection: Connection) -> None:
    """Rename the keys of definitions, and what follows from them, as version 3 has them.

    A study goes on as the one that it was: wherever its digest is on record, that of the renamed
    definition takes its place.
    """
    _rewrite(connection, _to_3)
    of_ours = select(_SLOTS.c.trial_id).where(_SLOTS.c.trial_id.is_not(None))
    connection.execute(
        update(_ATTRIBUTES)
        .where(_ATTRIBUTES.c.key == "replicate", _ATTRIBUTES.c.trial_id.in_(of_ours))
        .values(key="seed_index")
    )


def _to_3(definition: Definition) -> None:
    recipe, search = definition["recipe"], definition["search"]
    recipe["batch_size"] = recipe.pop("batch")
    schedule = recipe.pop("schedule")
    options = {"constant": {}, "cosine": {"min_lr": 0.0}}[schedule]
    recipe["lr_schedule"] = {"name": schedule, "warmup_epochs": 0, **options}
    search["seeds"] = search.pop("replicates")
    definition["reference_densities"] = definition.pop("fixed")
    definition["is_smoke"] = definition["study"].endswith("_smoke")


def _rewrite(connection: Connection, change: Callable[[Definition], None]) -> None:
    rows = connection.execute(select(_STUDIES.c.study, _STUDIES.c.config)).all()
    for study, content in rows:
        definition = json.loads(content)
        before = _digest(definition)
        change(definition)
        after = _digest(definition)
        here = _STUDIES.c.study == study
        connection.execute(update(_STUDIES).where(here).values(config=json.dumps(definition)))
        slots = select(_SLOTS.c.slot).where(_SLOTS.c.study == study)
        for rows_of, mine in (
            (_STUDIES, here),
            (_SLOTS, _SLOTS.c.study == study),
            (_ATTEMPTS, _ATTEMPTS.c.slot.in_(slots)),
        ):
            replaced = func.replace(rows_of.c.provenance, before, after)
            connection.execute(update(rows_of).where(mine).values(provenance=replaced))


def _digest(definition: Definition) -> str:
    """Return the hash that identified a definition, what may change left out."""
    fixed = {key: value for key, value in definition.items() if key not in ("description", "code")}
    budget = definition["budget"]
    fixed["budget"] = {
        key: value for key, value in budget.items() if key not in ("trials", "gpu_hours")
    }
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()
