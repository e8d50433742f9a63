"""Everybody of a batch of scenes in their places: heads by one product for all, what is worn, and the light.

Two layouts of the same meshes. ``packed`` gives all pictures the same faces, as rasterisers for whole batches want
them: what only some of them wear has corners that are nowhere in the others, and is not drawn there. An ``Assembly`` is
one picture's own mesh, for loops that draw one picture after the other.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from facewright.compiled import compiled
from facewright.geometry.frames import FAR_DM, NEAR_DM
from facewright.geometry.mesh import vertex_normals
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import Camera, FaceCoefficients
from facewright.synthetic.beards import beard_shell, lash_shell
from facewright.synthetic.clothes import torso
from facewright.synthetic.dice import stream
from facewright.synthetic.hair import Outline, hair_shell, outlines_of
from facewright.synthetic.headwear import hair_under, headwear_shell
from facewright.synthetic.makeup import make_up
from facewright.synthetic.plan import CLOTHES_STREAM, OBJECT_STREAM, ScenePlan
from facewright.synthetic.props import face_mask, glasses
from facewright.synthetic.shading import Lighting
from facewright.synthetic.shadows import FAINT, soften, sunlit, sunlit_compiled
from facewright.synthetic.shells import Shell
from facewright.synthetic.skin import skin_marks
from facewright.synthetic.studio import Studio

COLUMNS = 16
"""Of a table of vertices: albedo (3), place of the grain (3), its strength, gloss, sunlit, face, normal (3), position
(3)."""


@dataclass(frozen=True)
class Packed:
    """All pictures over the same faces.

    Attributes:
        table: of vertices, world frame; positions that are not finite belong to nothing.
        faces: of all that anybody wears; the head's come first.
    """

    table: Float[Tensor, "B N 16"]
    faces: Int[Tensor, "F 3"]


@dataclass(frozen=True)
class Assembly:
    """One picture's meshes as one; the head comes first.

    Attributes:
        table: of vertices; positions are in the model frame, normals are not filled in.
        faces: of all.
    """

    table: Float[ndarray, "N 16"]
    faces: Int[ndarray, "F 3"]


@dataclass(frozen=True)
class Stage:
    """A batch of scenes before their pictures are taken. Made by ``set_stage``.

    Attributes:
        studio: the model, on the CPU.
        plans: of the scenes.
        heads: model frame, dm.
        albedos: of the heads, linear, with all that is on the skin.
        grain: of the heads' surface: how mottled.
        gloss: of it: how much of the sun is mirrored.
        tilt: of its normals by folds; model frame.
        rotation: world from model.
        translation: dm.
        shells: what each wears; on the CPU.
    """

    studio: Studio
    plans: list[ScenePlan]
    heads: Float[Tensor, "B V 3"]
    albedos: Float[Tensor, "B V 3"]
    grain: Float[Tensor, "B V"]
    gloss: Float[Tensor, "B V"]
    tilt: Float[Tensor, "B V 3"]
    rotation: Float[Tensor, "B 3 3"]
    translation: Float[Tensor, "B 3"]
    shells: list[list[Shell]]

    def world_of(self, ids: Int[Tensor, " N"]) -> Float[Tensor, "B N 3"]:
        """Some vertices of the heads in the world, dm."""
        chosen = self.heads.index_select(1, ids.to(self.heads.device))
        return chosen @ self.rotation.transpose(-1, -2) + self.translation[:, None]

    @cached_property
    def middles(self) -> Float[Tensor, "B 3"]:
        """Of the heads, in the world."""
        return (self.rotation @ self.heads.mean(1)[..., None])[..., 0] + self.translation

    @cached_property
    def lighting(self) -> Lighting:
        """Of all scenes."""
        lights = [plan.light for plan in self.plans]
        device = self.heads.device

        def stacked(parts: list[ndarray]) -> Tensor:
            return torch.from_numpy(np.stack(parts).astype(np.float32)).to(device)

        return Lighting(
            torch.cat([plan.coefficients.sh for plan in self.plans]).to(device),
            stacked([light.sun for light in lights]),
            stacked([light.sun_direction for light in lights]),
            stacked([np.array(light.gloss) for light in lights]),
            stacked([np.array(plan.camera.distance_dm) for plan in self.plans]),
        )

    @cached_property
    def packed(self) -> Packed:
        """All pictures over the same faces, lit."""
        table, faces = self._unlit()
        vertices = table[..., 13:]
        count, lighting = self.heads.shape[1], self.lighting
        table[..., 10:13] = vertex_normals(vertices, faces)
        table[:, :count, 10:13] += self.tilt @ self.rotation.transpose(-1, -2)
        lit = sunlit(vertices, table[..., 10:13], faces, self.middles, lighting.sun_direction)
        head_faces = self.studio.model.faces.to(faces.device)
        table[..., 8] = torch.cat([soften(lit[:, :count], head_faces), lit[:, count:]], 1)
        faint = torch.tensor([_faint(plan) for plan in self.plans], device=table.device)
        table[..., 8].masked_fill_(faint[:, None], 1.0)
        return Packed(table, faces)

    def _unlit(self) -> tuple[Float[Tensor, "B N 16"], Int[Tensor, "F 3"]]:
        """Albedo, grain, gloss, face and position; shells with the same faces share a place."""
        device, (batch, count, _) = self.heads.device, self.heads.shape
        starts: dict[tuple[bytes, int], int] = {}
        faces, places, total = [self.studio.model.faces], [], count
        for shells in self.shells:
            worn: Counter[bytes] = Counter()
            for shell in shells:
                alike = shell.faces.numpy().tobytes()
                key = (alike, worn[alike])  # somebody may wear two of a kind
                worn[alike] += 1
                if key not in starts:
                    starts[key] = total
                    faces.append(shell.faces + total)
                    total += len(shell.vertices)
                places.append(starts[key])
        table = torch.full((batch, total, COLUMNS), torch.nan)
        placed = iter(places)
        for row, shells in zip(table, self.shells, strict=True):
            for shell in shells:
                start = next(placed)
                part = row[start : start + len(shell.vertices)]
                part.zero_()
                _fill(part.numpy(), shell)
                part[:, 13:] = shell.vertices
        table = table.to(device)
        table[:, :count] = torch.from_numpy(self.studio.columns).to(device)
        table[:, :count, :3] = self.albedos
        table[:, :count, 6], table[:, :count, 7] = self.grain, self.gloss
        table[:, :count, 13:] = self.heads
        table[..., 13:] = table[..., 13:] @ self.rotation.transpose(-1, -2) + self.translation[:, None]
        return table, torch.cat(faces).to(device)

    def figure(self, index: int) -> Assembly:
        """One picture's own meshes, on the CPU.

        Raises:
            MissingExtraError: numba is not installed.
        """
        shells, head = self.shells[index], self.heads[index].numpy()
        starts = np.cumsum([len(head)] + [len(shell.vertices) for shell in shells]).tolist()
        table, skin = np.zeros((starts[-1], COLUMNS), np.float32), (self.albedos, self.grain, self.gloss)
        compiled(_dress)(self.studio.columns, head, *(part[index].numpy() for part in skin), table)
        for shell, start, end in zip(shells, starts[:-1], starts[1:], strict=True):
            _fill(table[start:end], shell)
            table[start:end, 13:] = shell.vertices.numpy()
        moved = [shell.faces.numpy() + start for shell, start in zip(shells, starts, strict=False)]
        return Assembly(table, np.concatenate([self.studio.model.faces.numpy(), *moved]))


def set_stage(studio: Studio, plans: list[ScenePlan], device: torch.device | str = "cpu") -> Stage:
    """Decode, dress and place everybody.

    Args:
        studio: the model that the plans were made with.
        plans: of the scenes.
        device: where the heads are to be; shells are made on the CPU.
    """
    truths = [plan.coefficients for plan in plans]
    joined = FaceCoefficients(
        *(torch.cat([getattr(truth, name) for truth in truths]) for name in ("id", "exp", "tex", "angles", "sh")),
        translation=torch.cat([truth.translation for truth in truths]),
    )
    bodies = _bodies_from_heads(joined.angles)
    model, joined = studio.model_on(str(device)), joined.to(device)
    shape = (len(plans), -1, 3)
    # One product for all: faces of a batch one by one would each read all of the bases.
    offsets = joined.id @ model.id_basis.flatten(0, 1).T
    heads = torch.addmm(offsets + model.mean_shape.flatten(), joined.exp, model.exp_basis.flatten(0, 1).T).view(shape)
    albedos = torch.addmm(model.mean_albedo.flatten(), joined.tex, model.albedo_basis.flatten(0, 1).T).view(shape)
    known: dict[bytes, Shell] = {}
    here, moved = heads.cpu(), offsets.view(shape).cpu()
    outlines, skins = outlines_of(studio.hair, moved.numpy()), studio.mean_colors(joined.tex.cpu(), "neck")
    shells = [_worn(studio, plan, here[i], outlines[i], skins[i], bodies[i], known) for i, plan in enumerate(plans)]
    surface = _surfaces(studio, plans, albedos, joined.exp)
    return Stage(studio, plans, heads, *surface, rotation_from_angles(joined.angles), joined.translation, shells)


def _surfaces(
    studio: Studio, plans: list[ScenePlan], albedos: Float[Tensor, "B V 3"], exp: Float[Tensor, "B K"]
) -> tuple[Float[Tensor, "B V 3"], Float[Tensor, "B V"], Float[Tensor, "B V"], Float[Tensor, "B V 3"]]:
    """Albedo, grain, gloss and tilt of the normals with what is on the skin."""
    rig = studio.skin_on(str(albedos.device))
    marks = skin_marks([plan.skin for plan in plans], rig, exp)
    gloss = studio.gloss.to(albedos.device).expand(len(plans), -1).clone()
    for i, plan in enumerate(plans):
        if plan.make_up is not None:
            albedos[i], gloss[i] = make_up(plan.make_up, rig, albedos[i], gloss[i])
    albedos = (albedos * marks.albedo).clamp_(0.002, 0.98)
    return albedos, marks.grain * studio.grain.to(albedos.device), gloss * marks.gloss, marks.tilt


def _worn(
    studio: Studio,
    plan: ScenePlan,
    head: Tensor,
    outline: Outline,
    skin: Float[ndarray, "3"],
    body: Float[ndarray, "3 3"],
    known: dict[bytes, Shell],
) -> list[Shell]:
    """What is worn; the hair of a person is made once."""
    shells = [torso(stream(plan.person, CLOTHES_STREAM), body, skin)]
    hair = plan.hair
    if hair is not None and plan.headwear is not None:
        hair = hair_under(plan.headwear, hair)
        shells.append(hair_shell(hair, outline))
    elif hair is not None:
        key = plan.coefficients.id.numpy().tobytes() + hair.strand_seed.to_bytes(8, "little")
        if key not in known:
            known[key] = hair_shell(hair, outline)
        shells.append(known[key])
    if plan.headwear is not None:
        thick = 0.0 if hair is None else float(hair.thickness.max())
        shells.append(headwear_shell(plan.headwear, outline, thick))
    face = head.numpy()
    if plan.beard is not None:
        shells.append(beard_shell(plan.beard, studio.hairy, face))
    if plan.lashes_dm > 0.0:
        shells.append(lash_shell(plan.lashes_dm, studio.hairy, face))
    rng = stream(plan.seed, OBJECT_STREAM)
    if plan.prop in ("glasses", "sunglasses"):
        marks, ear = (head[ids].double().numpy() for ids in (studio.ibug68, studio.ear_top))
        shells.append(glasses(rng, marks, ear, dark=plan.prop == "sunglasses"))
    elif plan.prop == "mask":
        shells.append(face_mask(rng, studio.mask, head.double().numpy()))
    return shells


def _bodies_from_heads(angles: Float[Tensor, "B 3"]) -> Float[ndarray, "B 3 3"]:
    """Bodies stand upright and turn half as far as heads do."""
    bodies = rotation_from_angles(angles * torch.tensor([0.2, 0.5, 0.1]))
    return (rotation_from_angles(angles).transpose(-1, -2) @ bodies).double().numpy()


def _fill(rows: Float[ndarray, "N 16"], shell: Shell) -> None:
    """Write what does not depend on the pose into rows of a table of zeros."""
    rows[:, :3], rows[:, 3:6] = shell.albedo.numpy(), shell.places.numpy()
    rows[:, 6], rows[:, 7] = shell.grain.numpy(), shell.gloss.numpy()


def _dress(columns, head, albedo, grain, gloss, table):
    """A head's rows of a table of zeros. For numba."""
    for n in range(head.shape[0]):
        for k in range(3):
            table[n, k] = albedo[n, k]
            table[n, 3 + k] = columns[n, 3 + k]
            table[n, 13 + k] = head[n, k]
        table[n, 6], table[n, 7], table[n, 9] = grain[n], gloss[n], columns[n, 9]


def _faint(plan: ScenePlan) -> bool:
    """Whether the sun is too weak to cast shadows."""
    light = plan.light
    return bool(light.sun.max() < FAINT * light.irradiance(light.sun_direction[None]).max())


def clip_by(vertices: Float[Tensor, "B N 3"], cameras: list[Camera]) -> Float[Tensor, "B N 4"]:
    """``clip_from_world`` for cameras of one picture size at several distances."""
    width, height = cameras[0].width, cameras[0].height
    numbers = torch.tensor([_camera_numbers(camera) for camera in cameras], dtype=torch.float64)
    focal, cx, cy, away = numbers.to(vertices.device, vertices.dtype)[:, :4, None].unbind(1)
    near, far = NEAR_DM / 10.0 * away, FAR_DM / 10.0 * away
    w = away - vertices[..., 2]
    x = (2.0 * focal * vertices[..., 0] + (2.0 * cx + 1.0 - width) * w) / width
    y = (-2.0 * focal * vertices[..., 1] + (2.0 * cy + 1.0 - height) * w) / height
    z = ((far + near) * w - 2.0 * far * near) / (far - near)
    return torch.stack([x, y, z, w], -1)


def _camera_numbers(camera: Camera) -> list[float]:
    return [float(camera.focal_px[0]), float(camera.cx[0]), float(camera.cy[0]), camera.distance_dm]


def light_figure(
    stage: Stage, index: int, figure: Assembly, camera: Camera
) -> tuple[Float[Tensor, "1 N 4"], Int[ndarray, "F 3"]]:
    """Fill a figure's table (normals, positions, sunlit) by compiled loops.

    Returns:
        Clip coordinates, and the faces without those of the head that are seen from behind.

    Raises:
        MissingExtraError: numba is not installed.
    """
    pose = torch.cat([stage.rotation[index].flatten(), stage.translation[index]]).numpy()
    numbers = np.array([*_camera_numbers(camera), camera.width, camera.height], np.float32)
    clip = np.zeros((len(figure.table), 4), np.float32)
    plan, head = stage.plans[index], (stage.heads.shape[1], len(stage.studio.model.faces))
    toward = plan.light.sun_direction.astype(np.float32)
    seen, lit = np.zeros_like(figure.faces), np.zeros_like(figure.faces)
    counts, tilt = np.zeros(2, np.int64), stage.tilt[index].numpy()
    compiled(_place)(figure.faces, pose, numbers, toward, head[1], figure.table, clip, seen, lit, counts, tilt)
    if _faint(plan):
        figure.table[:, 8] = 1.0
    else:
        sunlit_compiled(figure.table, figure.faces, lit[: counts[1]], stage.middles[index].numpy(), toward, head)
    return torch.from_numpy(clip)[None], seen[: counts[0]]


def _place(faces, pose, camera, toward, head_faces, table, clip, seen, lit, counts, tilt):
    """Positions and normals into a table; clip coordinates; which faces camera and sun may see. For numba.

    A head is closed: faces that are seen from behind have others before them, and are half of the work.
    """
    seen_count, lit_count = 0, 0
    one, two, tiny = np.float32(1.0), np.float32(2.0), np.float32(1e-12)
    focal, cx, cy, away, width, height = camera[0], camera[1], camera[2], camera[3], camera[4], camera[5]
    near, far = np.float32(NEAR_DM / 10.0) * away, np.float32(FAR_DM / 10.0) * away
    deep, flat = (far + near) / (far - near), two * far * near / (far - near)
    for n in range(table.shape[0]):
        x, y, z = table[n, 13], table[n, 14], table[n, 15]
        wx = pose[0] * x + pose[1] * y + pose[2] * z + pose[9]
        wy = pose[3] * x + pose[4] * y + pose[5] * z + pose[10]
        wz = pose[6] * x + pose[7] * y + pose[8] * z + pose[11]
        w = away - wz
        clip[n, 0] = (two * focal * wx + (two * cx + one - width) * w) / width
        clip[n, 1] = (-two * focal * wy + (two * cy + one - height) * w) / height
        clip[n, 2] = deep * w - flat
        clip[n, 3] = w
        table[n, 13], table[n, 14], table[n, 15] = wx, wy, wz
        table[n, 10], table[n, 11], table[n, 12] = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for f in range(faces.shape[0]):
        a, b, c = np.uintp(faces[f, 0]), np.uintp(faces[f, 1]), np.uintp(faces[f, 2])
        ux, uy, uz = table[b, 13] - table[a, 13], table[b, 14] - table[a, 14], table[b, 15] - table[a, 15]
        vx, vy, vz = table[c, 13] - table[a, 13], table[c, 14] - table[a, 14], table[c, 15] - table[a, 15]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        scale = one / max(np.sqrt(x * x + y * y + z * z), tiny)
        for k in (a, b, c):
            table[k, 10] += x * scale
            table[k, 11] += y * scale
            table[k, 12] += z * scale
        if f >= head_faces or (away - table[a, 15]) * z - table[a, 13] * x - table[a, 14] * y > 0:
            seen[seen_count, 0], seen[seen_count, 1], seen[seen_count, 2] = a, b, c
            seen_count += 1
        if f >= head_faces or x * toward[0] + y * toward[1] + z * toward[2] > 0:
            lit[lit_count, 0], lit[lit_count, 1], lit[lit_count, 2] = a, b, c
            lit_count += 1
    counts[0], counts[1] = seen_count, lit_count
    for n in range(table.shape[0]):
        x, y, z = table[n, 10], table[n, 11], table[n, 12]
        scale = one / max(np.sqrt(x * x + y * y + z * z), tiny)
        x, y, z = x * scale, y * scale, z * scale
        if n < tilt.shape[0]:
            u, v, w = tilt[n, 0], tilt[n, 1], tilt[n, 2]
            x += pose[0] * u + pose[1] * v + pose[2] * w
            y += pose[3] * u + pose[4] * v + pose[5] * w
            z += pose[6] * u + pose[7] * v + pose[8] * w
        table[n, 10], table[n, 11], table[n, 12] = x, y, z
