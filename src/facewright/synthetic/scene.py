"""Taking the picture: all meshes together, lit per pixel, before a background, through a lens; and the truth."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from facewright.geometry.frames import project_points
from facewright.records import Camera, FaceCoefficients, Photo, TensorRecord
from facewright.render.rasterizers import rasterize
from facewright.render.visibility import surface_distance
from facewright.synthetic.dice import stream
from facewright.synthetic.engine import Exposure, expose
from facewright.synthetic.lens import take_picture
from facewright.synthetic.plan import MEAN_EYE_DISTANCE_DM, NOISE_STREAM, ScenePlan
from facewright.synthetic.staging import Stage, set_stage
from facewright.synthetic.studio import Studio

LANDMARK_TOLERANCE_DM = 0.04


@dataclass(frozen=True)
class Scene(TensorRecord):
    """A picture of one person, and the truth about it. Pixels: x right, y down, centres at integers.

    Attributes:
        photo: what a camera would have saved.
        coefficients: of the face, with pose and light (the light's cast shadows and gloss are not in them).
        camera: of the photo; ``camera.distance_dm`` is the true distance.
        landmarks: iBUG-68 (fixed vertices); z in the same pixels, away from the camera, 0 at the head's origin.
        landmarks_visible: not hidden by anything, and inside of the photo.
        face_seen: pixels that show the face itself.
        face_share_hidden: share of the face's pixels that hair or things cover, 0..1.
        eye_px: distance of the eyes of an average head that looks into this camera from there.
        seed: of the scene.
        person: of who it is.
        strata: name of each property's class: yaw, light, occlusion, resolution, distance, expression.
    """

    photo: Photo
    coefficients: FaceCoefficients
    camera: Camera
    landmarks: Float[Tensor, "68 3"]
    landmarks_visible: Bool[Tensor, "68"]
    face_seen: Bool[Tensor, "H W"]
    face_share_hidden: float
    eye_px: float
    seed: int
    person: int
    strata: dict[str, str]

    @property
    def face_box(self) -> Float[Tensor, "4"]:
        """Tight box of the landmarks: x0, y0, x1, y1."""
        return torch.cat([self.landmarks[:, :2].amin(0), self.landmarks[:, :2].amax(0)])


def photograph(studio: Studio, plan: ScenePlan, *, oversampling: int = 2) -> Scene:
    """Take the picture that a plan describes, by plain tensors, and find the whole truth about it.

    Args:
        studio: the model that the plan was made with.
        plan: from ``plan_scene``.
        oversampling: rays per pixel along each side.
    """
    with torch.no_grad():
        stage = set_stage(studio, [plan])
        shot = expose(stage, [plan.camera], [0], oversampling=oversampling)
        linear = shot.linear[0].permute(1, 2, 0).numpy()
        picture = take_picture(linear, plan.lens, stream(plan.seed, NOISE_STREAM))
        pixels = torch.from_numpy(picture).permute(2, 0, 1)
        landmarks, visible = _landmarks(stage, shot, oversampling)
        share = _share_hidden(stage, shot)
    eye_px = MEAN_EYE_DISTANCE_DM * float(plan.camera.focal_px[0]) / plan.camera.distance_dm
    return Scene(
        Photo(pixels, path=f"scene-{plan.seed}"),
        plan.coefficients,
        plan.camera,
        landmarks,
        visible,
        shot.face_seen[0],
        share,
        eye_px,
        plan.seed,
        plan.person,
        strata_of(plan, share, eye_px),
    )


def strata_of(plan: ScenePlan, share_hidden: float, eye_px: float) -> dict[str, str]:
    """Classes that results are told apart by."""
    turned = abs(plan.yaw_deg)
    yaw = "[0,30]" if turned <= 30 else "(30,60]" if turned <= 60 else "(60,90]"
    hidden = "clear" if share_hidden < 0.05 else "partly" if share_hidden < 0.25 else "heavy"
    size = "small" if eye_px < 40 else "medium" if eye_px < 80 else "large"
    away = plan.camera.distance_dm
    distance = "selfie" if away < 7 else "portrait" if away < 14 else "far"
    expression = "expressive" if float(plan.coefficients.exp.abs().max()) > 0.1 else "neutral"
    return {
        "yaw": yaw,
        "light": plan.light.kind,
        "occlusion": hidden,
        "resolution": size,
        "distance": distance,
        "expression": expression,
    }


def _landmarks(stage: Stage, shot: Exposure, oversampling: int) -> tuple[Float[Tensor, "68 3"], Bool[Tensor, "68"]]:
    """Where they are, and which of them can be seen."""
    (plan,), cover = stage.plans, shot.cover[0]
    camera, (height, width) = plan.camera, cover.shape
    points = project_points(stage.world_of(stage.studio.ibug68), camera)[0]
    origin = camera.distance_dm - plan.coefficients.translation[0, 2]
    depth = (points[:, 2] - origin) * camera.focal_px[0] / origin
    surface = surface_distance(shot.clip, shot.faces, shot.fragments)
    # The farthest surface of a pixel's rays: on a slope, or a thin rim, one of them passes beside what is near.
    farthest = torch.nn.functional.max_pool2d(surface.nan_to_num(posinf=0.0)[None], oversampling)[0, 0]
    column, row = points[:, 0].round().long(), points[:, 1].round().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = (row.clamp(0, height - 1), column.clamp(0, width - 1))
    seen = (points[:, 2] <= farthest[place] + LANDMARK_TOLERANCE_DM) | (farthest[place] == 0)
    return torch.cat([points[:, :2], depth[:, None]], 1), inside & seen & ~cover[place]


def _share_hidden(stage: Stage, shot: Exposure) -> float:
    """Share of the pixels that the head alone would show its face in, and that show something else."""
    faces = stage.studio.model.faces
    bare = rasterize(shot.clip, faces, (shot.cover.shape[1], shot.cover.shape[2])).face_index[0]
    on_face = (stage.studio.region("face") > 0.5)[faces].all(1)
    would = (bare >= 0) & on_face[bare.clamp_min(0)]
    return float(1.0 - (would & shot.face_seen[0]).sum() / would.sum().clamp_min(1))
