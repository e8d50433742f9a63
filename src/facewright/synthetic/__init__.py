"""Pictures of people who do not exist, with the whole truth about them, drawn from the open head by a seed.

``plan_scene(studio, seed)`` decides everything; ``photograph(studio, plan)`` takes the picture: a ``Scene``;
``take_snapshots(studio, plans)`` takes many at once, without the slower part of the truth. All are pure: a seed means
the same picture everywhere. ``plan_album`` and ``plan_clip`` show one person several times.

Seeds from ``HELD_OUT_SEED`` on are for measuring: training never sees them nor their people.
"""

from facewright.synthetic.albums import plan_album, plan_clip, plan_expressions, plan_turns
from facewright.synthetic.engine import Snapshots, draw_pictures, take_snapshots
from facewright.synthetic.parts import draw_parts
from facewright.synthetic.plan import (
    HELD_OUT_SEED,
    ScenePlan,
    Wish,
    plan_plain_scene,
    plan_scene,
    plan_scenes,
    require_training_seed,
)
from facewright.synthetic.scene import Scene, photograph
from facewright.synthetic.staging import Stage, set_stage
from facewright.synthetic.studio import Studio, open_studio

__all__ = [
    "HELD_OUT_SEED",
    "Scene",
    "ScenePlan",
    "Snapshots",
    "Stage",
    "Studio",
    "Wish",
    "draw_parts",
    "draw_pictures",
    "open_studio",
    "photograph",
    "plan_album",
    "plan_clip",
    "plan_expressions",
    "plan_plain_scene",
    "plan_scene",
    "plan_scenes",
    "plan_turns",
    "require_training_seed",
    "set_stage",
    "take_snapshots",
]
