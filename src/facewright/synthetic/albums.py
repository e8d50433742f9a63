"""Several pictures of one person: albums, turns, expressions, clips. Pure functions of a seed, like single scenes."""

from dataclasses import replace

import numpy as np
import torch

from facewright.geometry.rotations import angles_from_rotation, rotation_from_angles
from facewright.synthetic.plan import ScenePlan, plan_scene, ray_rotations
from facewright.synthetic.studio import Studio

SCENES_PER_PERSON = 1000
"""Picture k of person p is scene p * 1000 + k: scenes of held-out people are held out."""


def scene_seed(person: int, picture: int) -> int:
    """The seed of a person's k-th picture."""
    return person * SCENES_PER_PERSON + picture


def plan_album(studio: Studio, person: int, count: int, *, size: int = 480) -> list[ScenePlan]:
    """Pictures of one person with everything else drawn anew: pose, expression, light, place, things worn."""
    return [plan_scene(studio, scene_seed(person, k), person=person, width=size, height=size) for k in range(count)]


def plan_turns(
    studio: Studio, person: int, yaws_deg: tuple[float, ...] = (0.0, 30.0, 55.0, 80.0), *, size: int = 480
) -> list[ScenePlan]:
    """One neutral person in one light, turned ever further; nothing else changes."""
    first = _studio_portrait(studio, scene_seed(person, 500), person, size)
    return [_turned(first, yaw) for yaw in yaws_deg]


def plan_expressions(studio: Studio, person: int, count: int, *, size: int = 480) -> list[ScenePlan]:
    """One person in one light, looking into the camera with different faces; the first is neutral."""
    first = _studio_portrait(studio, scene_seed(person, 600), person, size)
    faces = [
        plan_scene(studio, scene_seed(person, 601 + k), person=person, expression=True).coefficients.exp
        for k in range(count - 1)
    ]
    return [first] + [replace(first, coefficients=replace(first.coefficients, exp=exp)) for exp in faces]


def plan_clip(studio: Studio, person: int, frames: int, *, size: int = 320) -> list[ScenePlan]:
    """A clip: head and face move smoothly between random keys, the head drifts; noise differs from frame to frame."""
    start = _studio_portrait(studio, scene_seed(person, 700), person, size)
    keys = max(2, frames // 10 + 2)
    faces = [
        plan_scene(studio, scene_seed(person, 701 + k), person=person, expression=k % 2 == 1).coefficients.exp
        for k in range(keys)
    ]
    rng = np.random.default_rng([person, 700])
    angles = torch.from_numpy(np.radians(rng.normal(0.0, [6.0, 18.0, 4.0], (keys, 3)))).float()
    places = torch.from_numpy(rng.normal(0.0, 0.12, (keys, 3)) * [1.0, 1.0, 0.5]).float()
    first = start.coefficients
    clip = []
    for k in range(frames):
        position = k / max(1, frames - 1) * (keys - 1)
        left = min(int(position), keys - 2)
        share = 0.5 - 0.5 * np.cos(np.pi * (position - left))
        moved = replace(
            first,
            exp=torch.lerp(faces[left], faces[left + 1], share),
            angles=torch.lerp(angles[left], angles[left + 1], share)[None],
            translation=first.translation + torch.lerp(places[left], places[left + 1], share)[None],
        )
        lens = replace(start.lens, motion_px=0.0)
        yaw = float(torch.rad2deg(moved.angles[0, 1]))
        clip.append(replace(start, coefficients=moved, lens=lens, yaw_deg=yaw))
    return clip


def _studio_portrait(studio: Studio, seed: int, person: int, size: int) -> ScenePlan:
    """A neutral frontal picture in even light, nothing before the face, the face large."""
    plan = plan_scene(
        studio,
        seed,
        person=person,
        width=size,
        height=size,
        eye_px=(0.16 * size, 0.2 * size),
        yaw_deg=0.0,
        expression=False,
        light="even",
        prop="none",
    )
    place = plan.coefficients.translation * torch.tensor([0.3, 0.3, 1.0])
    return _turned(replace(plan, coefficients=replace(plan.coefficients, translation=place)), 0.0, level=True)


def _turned(plan: ScenePlan, yaw_deg: float, *, level: bool = True) -> ScenePlan:
    """Seen at an angle; level: without pitch and roll."""
    viewed = rotation_from_angles(torch.deg2rad(torch.tensor([[0.0, yaw_deg, 0.0]], dtype=torch.float64)))[0].numpy()
    place = plan.coefficients.translation[0].double().numpy()
    rotation = ray_rotations(place[None], np.array([plan.camera.distance_dm]))[0] @ viewed
    angles = angles_from_rotation(torch.from_numpy(rotation)).float()[None]
    return replace(plan, coefficients=replace(plan.coefficients, angles=angles), yaw_deg=yaw_deg)
