"""What the lanes of an agent have in common."""

import threading
from dataclasses import dataclass, field

from wconv_sweep.node_share import NodeShare
from wconv_sweep.pilot_end import PilotEnd
from wconv_sweep.pilot_order import PilotOrder
from wconv_sweep.pilot_place import PilotPlace
from wconv_sweep.pilots import PilotRecord
from wconv_sweep.pruning import Pruning
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import SlotTable
from wconv_sweep.storage import Storage
from wconv_sweep.study_config import StudyConfig
from wconv_sweep.trial_mirror import TrialMirror


@dataclass
class AgentParts:
    """What the lanes of an agent have in common."""

    order: PilotOrder
    place: PilotPlace
    share: NodeShare
    config: StudyConfig
    storage: Storage
    slots: SlotTable
    folder: RunFolder
    mirror: TrialMirror
    """Kept: each proposal and decision reads what is new since the last one."""
    pruning: Pruning
    record: PilotRecord
    end: PilotEnd
    mirror_turn: threading.Lock = field(default_factory=threading.Lock)
    """Held by the lane that asks sampler or pruner, which share the mirror."""
    start_up_s: float = 0.0
    """Longest time that an attempt has taken to its first step; 0 before the first."""

    def sign_of_life(self) -> None:
        """Tell the storage that this agent is there, and learn whether it should not be."""
        if not self.record.seen():
            self.end.superseded = True
