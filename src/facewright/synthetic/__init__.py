"""Pictures of people who do not exist, with the whole truth about them, drawn from the open head by a seed.

``plan_scene(studio, seed)`` decides everything; ``photograph(studio, plan)`` takes the picture: a ``Scene``. Both are
pure: a seed means the same picture everywhere. ``plan_album`` and ``plan_clip`` show one person several times.

Seeds from ``HELD_OUT_SEED`` on are for measuring: training never sees them nor their people.
"""

from facewright.synthetic.albums import plan_album, plan_clip, plan_expressions, plan_turns
from facewright.synthetic.plan import (
    HELD_OUT_SEED,
    ScenePlan,
    plan_plain_scene,
    plan_scene,
    require_training_seed,
)
from facewright.synthetic.scene import Scene, Snapshot, photograph, take_snapshot
from facewright.synthetic.studio import Studio, open_studio

__all__ = [
    "HELD_OUT_SEED",
    "Scene",
    "ScenePlan",
    "Snapshot",
    "Studio",
    "open_studio",
    "photograph",
    "plan_album",
    "plan_clip",
    "plan_expressions",
    "plan_plain_scene",
    "plan_scene",
    "plan_turns",
    "require_training_seed",
    "take_snapshot",
]
