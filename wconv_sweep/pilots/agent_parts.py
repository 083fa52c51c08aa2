"""The shared state of an agent's lanes."""

import threading
from dataclasses import dataclass, field

from wconv_sweep.pilots.end import PilotEnd
from wconv_sweep.pilots.node_share import NodeShare
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.pilots.place import PilotPlace
from wconv_sweep.pilots.registry import PilotRecord
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.search.pruning import Pruning
from wconv_sweep.search.trial_mirror import TrialMirror
from wconv_sweep.slots.table import SlotTable
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import SearchArm


@dataclass
class AgentParts:
    """The shared state of an agent's lanes."""

    order: PilotOrder
    place: PilotPlace
    share: NodeShare
    config: StudyConfig
    storage: Storage
    slots: SlotTable
    folder: RunFolder
    mirrors: dict[SearchArm | None, TrialMirror]
    """Kept: each proposal and decision reads what is new since the last one."""
    pruning: Pruning
    record: PilotRecord
    end: PilotEnd
    mirror_turn: threading.Lock = field(default_factory=threading.Lock)
    """Held by the lane that asks sampler or pruner, which share the mirrors."""
    start_up_s: float = 0.0
    """Longest time that an attempt has taken to its first step; 0 before the first."""

    def sign_of_life(self) -> None:
        """Send a heartbeat to the storage, and learn whether another agent replaces this one."""
        if not self.record.seen():
            self.end.superseded = True
