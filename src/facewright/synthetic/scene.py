"""Taking the picture: all meshes together, lit per pixel, before a background, through a lens; and the truth."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from facewright.geometry.frames import clip_from_world, pose_points, project_points
from facewright.geometry.mesh import vertex_normals
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import Camera, FaceCoefficients, Fragments, Photo, TensorRecord
from facewright.render.interpolation import sample_surface
from facewright.render.rasterizers import rasterize
from facewright.render.visibility import seen_share, surface_distance
from facewright.synthetic.hair import hair_shell
from facewright.synthetic.lens import take_picture
from facewright.synthetic.light import Light
from facewright.synthetic.plan import (
    BACKDROP_STREAM,
    CLOTHES_STREAM,
    MEAN_EYE_DISTANCE_DM,
    NOISE_STREAM,
    OBJECT_STREAM,
    ScenePlan,
    stream,
)
from facewright.synthetic.props import face_mask, glasses, torso
from facewright.synthetic.shading import Lighting, shade_picture_compiled, shade_samples
from facewright.synthetic.shells import Shell
from facewright.synthetic.studio import Studio
from facewright.synthetic.textures import draw_background, fractal_noise

LANDMARK_TOLERANCE_DM = 0.04
SHADOW_BUFFER_PX = 192


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
    """Take the picture that a plan describes.

    Args:
        studio: the model that the plan was made with.
        plan: from ``plan_scene``.
        oversampling: rays per pixel along each side.
    """
    with torch.no_grad():
        view = _View(studio, plan, oversampling)
        linear, face_seen, cover = view.exposed()
        picture = take_picture(linear.numpy(), plan.lens, stream(plan.seed, NOISE_STREAM))
        pixels = torch.from_numpy(picture).permute(2, 0, 1)
        landmarks, visible = view.landmarks(cover)
        share = view.share_hidden(face_seen)
    eye_px = MEAN_EYE_DISTANCE_DM * float(plan.camera.focal_px[0]) / plan.camera.distance_dm
    return Scene(
        Photo(pixels, path=f"scene-{plan.seed}"),
        plan.coefficients,
        plan.camera,
        landmarks,
        visible,
        face_seen,
        share,
        eye_px,
        plan.seed,
        plan.person,
        strata_of(plan, share, eye_px),
    )


@dataclass(frozen=True)
class Snapshot:
    """A picture without the part of the truth that takes long to find.

    Attributes:
        picture: sRGB-coded bytes.
        vertices_world: of the head, dm.
    """

    picture: UInt8[np.ndarray, "H W 3"]
    vertices_world: Float[Tensor, "V 3"]


def take_snapshot(studio: Studio, plan: ScenePlan, *, oversampling: int = 2) -> Snapshot:
    """``photograph`` for training: the same picture (up to rounding) in a third of the time. Arguments as there.

    Raises:
        MissingExtraError: numba is not installed.
    """
    with torch.no_grad():
        view = _View(studio, plan, oversampling)
        picture = take_picture(view.exposed_compiled().numpy(), plan.lens, stream(plan.seed, NOISE_STREAM))
        return Snapshot(picture, view.vertices[: len(view.head)])


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


@dataclass(frozen=True)
class _View:
    """All meshes of a scene as one (the head comes first), as its camera sees them."""

    studio: Studio
    plan: ScenePlan
    oversampling: int

    @cached_property
    def head(self) -> Float[Tensor, "V 3"]:
        truth = self.plan.coefficients
        return self.studio.model.shape(truth.id, truth.exp)[0]

    @cached_property
    def shells(self) -> list[Shell]:
        """What is worn."""
        plan, model = self.plan, self.studio.model
        shells = [torso(stream(plan.person, CLOTHES_STREAM), _body_rotation(plan.coefficients))]
        if plan.hair is not None:
            offsets = torch.einsum("vck,k->vc", model.id_basis, plan.coefficients.id[0])
            shells.append(hair_shell(plan.hair, self.studio.hair, offsets.double().numpy()))
        rng = stream(plan.seed, OBJECT_STREAM)
        if plan.prop in ("glasses", "sunglasses"):
            marks, ear = (self.head[ids].double().numpy() for ids in (self.studio.ibug68, self.studio.ear_top))
            shells.append(glasses(rng, marks, ear, dark=plan.prop == "sunglasses"))
        elif plan.prop == "mask":
            shells.append(face_mask(rng, self.studio.mask, self.head.double().numpy()))
        return shells

    @cached_property
    def faces(self) -> Int[Tensor, "F 3"]:
        starts = np.cumsum([len(self.head)] + [len(shell.vertices) for shell in self.shells]).tolist()
        moved = [shell.faces + start for shell, start in zip(self.shells, starts, strict=False)]
        return torch.cat([self.studio.model.faces, *moved])

    @cached_property
    def vertices(self) -> Float[Tensor, "V 3"]:
        """World frame, dm."""
        truth = self.plan.coefficients
        together = torch.cat([self.head] + [shell.vertices for shell in self.shells])
        return pose_points(together[None], truth.angles, truth.translation)[0]

    @cached_property
    def clip(self) -> Float[Tensor, "1 V 4"]:
        return clip_from_world(self.vertices[None], self.plan.camera)

    @cached_property
    def fragments(self) -> Fragments:
        """Several rays per pixel."""
        camera, finer = self.plan.camera, self.oversampling
        return rasterize(self.clip, self.faces, (finer * camera.height, finer * camera.width))

    @cached_property
    def lighting(self) -> Lighting:
        light, camera_z = self.plan.light, self.plan.camera.distance_dm
        sun, direction = (torch.from_numpy(part).float() for part in (light.sun, light.sun_direction))
        return Lighting(self.plan.coefficients.sh, sun, direction, light.gloss, camera_z)

    def values(self) -> Float[Tensor, "V 16"]:
        """Per vertex: albedo, place of the grain, its strength, gloss, sun, face, normal, position."""
        studio, shells, truth = self.studio, self.shells, self.plan.coefficients
        normals = vertex_normals(self.vertices, self.faces)
        lit = _sunlit(self.plan.light, self.vertices, normals, self.faces)
        count = len(self.head)
        lit = torch.cat([torch.from_numpy(studio.smoother @ lit[:count].numpy()), lit[count:]])
        columns = [
            torch.cat([studio.model.albedo(truth.tex)[0].clamp(0.002, 0.98)] + [shell.albedo for shell in shells]),
            torch.cat([studio.grain_places] + [shell.places for shell in shells]),
            torch.cat([studio.grain] + [shell.grain for shell in shells])[:, None],
            torch.cat([studio.gloss] + [shell.gloss for shell in shells])[:, None],
            lit[:, None],
            torch.cat([studio.region("face")] + [torch.zeros(len(shell.vertices)) for shell in shells])[:, None],
            normals,
            self.vertices,
        ]
        return torch.cat(columns, 1)

    def exposed(self) -> tuple[Float[Tensor, "H W 3"], Bool[Tensor, "H W"], Bool[Tensor, "H W"]]:
        """Linear picture, pixels that show the face, and pixels behind a flat thing before the camera."""
        samples = sample_surface(self.clip, self.faces, self.fragments)
        values = samples.take(self.values()[None])
        color = shade_samples(values, self.lighting)
        of_head = self.fragments.face_index.flatten()[samples.pixels] < len(self.studio.model.faces)
        face = ((values[:, 9] > 0.5) & of_head).to(color)
        picture = samples.put(torch.cat([color, torch.ones_like(face)[:, None], face[:, None]], 1))
        picture = torch.nn.functional.avg_pool2d(picture, self.oversampling)[0]
        linear, cover = self._before_backdrop(picture[:3], picture[3])
        return linear.permute(1, 2, 0).clamp_min(0.0), (picture[4] > 0.5) & (cover < 0.5), cover > 0.5

    def exposed_compiled(self) -> Float[Tensor, "H W 3"]:
        """The linear picture alone, by the compiled twin."""
        drawn = shade_picture_compiled(
            self.values(), self.faces, self.fragments, self.lighting, self.oversampling, len(self.studio.model.faces)
        )
        picture = torch.from_numpy(drawn).permute(2, 0, 1)
        linear, _ = self._before_backdrop(picture[:3], picture[3])
        return linear.permute(1, 2, 0).clamp_min(0.0)

    def _before_backdrop(
        self, colors: Float[Tensor, "3 H W"], coverage: Float[Tensor, "H W"]
    ) -> tuple[Float[Tensor, "3 H W"], Float[Tensor, "H W"]]:
        """The picture with what is behind it and what is held before it; and where the latter covers it."""
        plan = self.plan
        backdrop = draw_background(stream(plan.seed, BACKDROP_STREAM), plan.camera.height, plan.camera.width)
        linear = colors + (1.0 - coverage) * torch.from_numpy(backdrop).permute(2, 0, 1)
        cover = torch.zeros_like(coverage)
        if plan.prop == "object":
            points = project_points(self.vertices[None, : len(self.head)], plan.camera)[0, :, :2]
            paint, cover = _blob(plan, points, linear.shape[1:])
            linear = cover * paint + (1.0 - cover) * linear
        return linear, cover

    def landmarks(self, cover: Bool[Tensor, "H W"]) -> tuple[Float[Tensor, "68 3"], Bool[Tensor, "68"]]:
        """Where they are, and which of them can be seen."""
        camera, (height, width) = self.plan.camera, cover.shape
        points = project_points(self.vertices[None, self.studio.ibug68], camera)[0]
        origin = camera.distance_dm - self.plan.coefficients.translation[0, 2]
        depth = (points[:, 2] - origin) * camera.focal_px[0] / origin
        surface = surface_distance(self.clip, self.faces, self.fragments)
        # The farthest surface of a pixel's rays: on a slope, or a thin rim, one of them passes beside what is near.
        farthest = torch.nn.functional.max_pool2d(surface.nan_to_num(posinf=0.0)[None], self.oversampling)[0, 0]
        column, row = points[:, 0].round().long(), points[:, 1].round().long()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        place = (row.clamp(0, height - 1), column.clamp(0, width - 1))
        seen = (points[:, 2] <= farthest[place] + LANDMARK_TOLERANCE_DM) | (farthest[place] == 0)
        return torch.cat([points[:, :2], depth[:, None]], 1), inside & seen & ~cover[place]

    def share_hidden(self, face_seen: Bool[Tensor, "H W"]) -> float:
        """Share of the pixels that the head alone would show its face in, and that show something else."""
        camera, faces = self.plan.camera, self.studio.model.faces
        bare = rasterize(self.clip, faces, (camera.height, camera.width)).face_index[0]
        on_face = (self.studio.region("face") > 0.5)[faces].all(1)
        would = (bare >= 0) & on_face[bare.clamp_min(0)]
        return float(1.0 - (would & face_seen).sum() / would.sum().clamp_min(1))


def _body_rotation(truth: FaceCoefficients) -> np.ndarray:
    """Bodies stand upright and turn half as far as heads do."""
    body = truth.angles * torch.tensor([0.2, 0.5, 0.1])
    return (rotation_from_angles(truth.angles)[0].T @ rotation_from_angles(body)[0]).double().numpy()


def _sunlit(light: Light, vertices: Tensor, normals: Tensor, faces: Tensor) -> Float[Tensor, " V"]:
    """Whether the sun reaches each vertex, 0 or 1."""
    if light.sun.max() < 0.05 * light.sky.max():
        return torch.ones(len(vertices))
    toward = torch.from_numpy(light.sun_direction).to(vertices)
    side = torch.nn.functional.normalize(torch.linalg.cross(torch.tensor([0.1, 1.0, 0.2]), toward), dim=0)
    frame = torch.stack([side, torch.linalg.cross(toward, side), toward])
    from_sun = (vertices - vertices.mean(0)) @ frame.T
    middle_px = torch.tensor([(SHADOW_BUFFER_PX - 1) / 2])
    focal = SHADOW_BUFFER_PX / 2 * 90.0 / from_sun.abs().max()
    camera = Camera(focal[None], middle_px, middle_px, SHADOW_BUFFER_PX, SHADOW_BUFFER_PX, 100.0)
    size = (SHADOW_BUFFER_PX, SHADOW_BUFFER_PX)
    clip = clip_from_world(from_sun[None], camera)
    nearest = surface_distance(clip, faces, rasterize(clip, faces, size))
    column, row, distance = project_points(from_sun[None], camera).unbind(-1)
    reached = seen_share(nearest, column, row, distance, tolerance=0.06)[0] > 0
    away = normals @ toward < 0  # unlit anyway; no edge of a shadow there
    return (reached | away).float()


def _blob(
    plan: ScenePlan, points: Float[Tensor, "V 2"], size: tuple[int, ...]
) -> tuple[Float[Tensor, "3 H W"], Float[Tensor, "H W"]]:
    """A flat thing (hand, cup, branch) somewhere over the face: its paint, and where it covers."""
    rng = stream(plan.seed, OBJECT_STREAM)
    low, high = points.amin(0).numpy(), points.amax(0).numpy()
    extent = float((high - low).max())
    spread = rng.uniform(0.05, 0.3, 2) * extent
    turn, around = rng.uniform(0, np.pi), np.sort(rng.uniform(0, 2 * np.pi, 9))
    outline = np.stack([np.cos(around) * spread[0], np.sin(around) * spread[1]], -1) * rng.uniform(0.7, 1.3, (9, 1))
    outline = outline @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) + rng.uniform(low, high)
    cover = np.zeros(size, np.float32)
    cv2.fillPoly(cover, [outline.round().astype(np.int32)], 1.0, cv2.LINE_AA)
    cover = cv2.GaussianBlur(cover, (0, 0), 0.01 * extent + 0.3)
    color = rng.beta(1.0, 2.0) * np.exp(0.4 * rng.standard_normal(3))
    noise = fractal_noise(rng, size[0], size[1], 1.1)
    paint = color[:, None, None] * np.exp(0.3 * noise)
    return torch.from_numpy(paint.astype(np.float32)), torch.from_numpy(cover)
