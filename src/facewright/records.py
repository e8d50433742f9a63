"""What travels between rooms: frozen records, and nothing else.

No maths lives here. Tensors are batched on a leading ``B`` where a record can hold several faces.
Axis letters: B batch, V vertices, F faces, L landmarks, H W rows and columns, C channels, K coefficients,
S spherical-harmonic basis functions, T texture coordinates. Frames and units: docs/conventions.md.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from facewright.errors import PhotoError

AlbedoSpace = Literal["linear", "display"]
"""How albedo numbers are coded: ``linear`` RGB (shaded, then sRGB-encoded) or ``display`` (BFM: shaded as it is)."""


PARTS = ("other", "head", "hair", "thing")
"""What a pixel of a portrait may show: neither of the others; the head's own surface (skin, eyes, mouth, beard, brows);
hair of the scalp; what a person wears or what stands before them: glasses, hats, hands, masks, collars."""

# Not typing.Self: the runtime checks of the tests decorate methods one by one, where Self has no meaning.
Record = TypeVar("Record", bound="TensorRecord")
Made = TypeVar("Made")


class TensorRecord:
    """Mixin of records that hold tensors: move them all at once, those in nested records and dictionaries too."""

    def mapped(self: Record, change: Callable[[Tensor], Tensor]) -> Record:
        """Return a copy with every tensor changed, however deep in the record it lies."""
        entries = {entry.name: getattr(self, entry.name) for entry in fields(self)}  # pyright: ignore[reportArgumentType]
        moved = {name: _mapped(value, change) for name, value in entries.items()}
        changed = {name: value for name, value in moved.items() if value is not entries[name]}
        return replace(self, **changed)  # pyright: ignore[reportArgumentType] - every record is a dataclass, the mixin is not

    def to(self: Record, target: torch.device | torch.dtype | str) -> Record:
        """Return a copy with every tensor moved to a device, or every floating-point tensor cast to a dtype."""

        def moved(tensor: Tensor) -> Tensor:
            fixed = isinstance(target, torch.dtype) and not tensor.is_floating_point()
            return tensor if fixed else tensor.to(target)

        return self.mapped(moved)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The value with its tensors changed; the very same object where it holds none."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, TensorRecord):
        return value.mapped(change)
    if isinstance(value, dict):
        return {key: _mapped(entry, change) for key, entry in value.items()}
    if isinstance(value, tuple) and any(isinstance(entry, Tensor | TensorRecord) for entry in value):
        return tuple(_mapped(entry, change) for entry in value)
    return value


@dataclass(frozen=True)
class Photo(TensorRecord):
    """A photograph after the front door: upright, RGB, no alpha.

    Attributes:
        pixels: sRGB-coded (display) values, 0..255; channels may lie together in memory, as pictures are decoded.
        path: where it came from, for reports; empty if it came from memory.
    """

    pixels: UInt8[Tensor, "3 H W"]
    path: str = ""

    def __post_init__(self) -> None:
        """Raises PhotoError: the pixels are no bytes of three channels."""
        pixels = self.pixels
        if not isinstance(pixels, Tensor) or pixels.dtype != torch.uint8 or pixels.ndim != 3 or len(pixels) != 3:
            raise PhotoError(
                "expected the pixels of a photo as a tensor of bytes (3, height, width), received "
                f"{(pixels.dtype, tuple(pixels.shape)) if isinstance(pixels, Tensor) else type(pixels).__name__}; "
                "photo_from_array takes pictures in memory"
            )

    @property
    def width(self) -> int:
        """Columns, px."""
        return self.pixels.shape[2]

    @property
    def height(self) -> int:
        """Rows, px."""
        return self.pixels.shape[1]

    @property
    def srgb(self) -> Float[Tensor, "3 H W"]:
        """The whole picture in 0..1, float32: four times its bytes, made anew at each call. Large photos: ``part``."""
        return self.part(0, 0, self.width, self.height)

    def part(self, left: int, top: int, right: int, bottom: int) -> Float[Tensor, "3 h w"]:
        """The pixels from (left, top) to before (right, bottom), sRGB-coded 0..1, float32; cut off at the borders."""
        inside = self.pixels[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        return inside.to(torch.float32, memory_format=torch.contiguous_format).div_(255.0)


@dataclass(frozen=True)
class FaceDetection(TensorRecord):
    """One face found in a photo. All positions in photo pixels: x right, y down, centres at integers.

    Attributes:
        box: x0, y0, x1, y1 of the face (brows to chin, cheek to cheek).
        score: detector confidence, 0..1.
        five: right eye centre (image left in an upright face), left eye centre, nose tip, right and left mouth corner.
        mesh: the 468 dense points; z in the same pixels, growing away from the camera, zero near the head's centre.
            None where only five points are known (a landmarks file).
        mesh_score: the mesh net's own face confidence, 0..1; 0 without a mesh.
    """

    box: Float[Tensor, "4"]
    score: float
    five: Float[Tensor, "5 2"]
    mesh: Float[Tensor, "468 3"] | None = None
    mesh_score: float = 0.0


@dataclass(frozen=True)
class Camera(TensorRecord):
    """Pinhole cameras, one per batch entry, at (0, 0, ``distance_dm``) of the world, looking along -z, y up.

    A world point (x, y, z) falls on pixel column ``cx + focal_px * x / (distance_dm - z)`` and row
    ``cy - focal_px * y / (distance_dm - z)``; pixel centres are at integers.

    Attributes:
        focal_px: focal length, px.
        cx: principal point, column, px.
        cy: principal point, row, px.
        width: picture columns.
        height: picture rows.
        distance_dm: distance of the camera from the world's origin, dm.
    """

    focal_px: Float[Tensor, " B"]
    cx: Float[Tensor, " B"]
    cy: Float[Tensor, " B"]
    width: int
    height: int
    distance_dm: float = 10.0


@dataclass(frozen=True)
class AlignedFace(TensorRecord):
    """A face brought to the networks' frame (Deep3D crop).

    Attributes:
        crop: sRGB-coded, 0..1; outside of the photo it is black.
        T_photo_crop: homogeneous map of crop pixels to photo pixels (exact, of the resampled picture); with a roll it
            turns as well (``geometry.frames.scale_of`` is its scale).
        trans_params: W, H, s, tx, ty as the official repositories store them (ty with y up), float64; of the turned
            photo where there is a roll.
        camera_crop: the camera of the crop.
        camera_photo: the equivalent camera of the whole photo: same face, drawn in place; same pose, but for the roll.
        five_crop: the five points in crop pixels.
        roll: radians, counter-clockwise as the camera sees it, by which the head was rolled in the photo and is turned
            upright in the crop; 0 for the official crop. Poses and light in the crop are turned back by
            ``geometry.turning.turn_of_face``.
    """

    crop: Float[Tensor, "3 H W"]
    T_photo_crop: Float[Tensor, "3 3"]
    trans_params: Float[Tensor, "5"]
    camera_crop: Camera
    camera_photo: Camera
    five_crop: Float[Tensor, "5 2"]
    roll: float = 0.0


@dataclass(frozen=True)
class Pose(TensorRecord):
    """Where heads are: model frame to world frame, a rotation and then a move.

    Attributes:
        angles: rotations about x, y, z, radians; R = Rz Ry Rx on column vectors (+x nods down, +y turns the
            nose to image right, +z rolls counter-clockwise as the camera sees it).
        translation: dm, added after the rotation.
    """

    angles: Float[Tensor, "B 3"]
    translation: Float[Tensor, "B 3"]

    def document(self) -> dict[str, float | list[float]]:
        """The first head's, for people, in degrees and dm.

        Yaw turns the nose to image right, pitch nods down, roll is counter-clockwise as seen.
        """
        pitch, yaw, roll = torch.rad2deg(self.angles[0]).tolist()
        translation = self.translation[0].tolist()
        return {"yaw_deg": yaw, "pitch_deg": pitch, "roll_deg": roll, "translation_dm": translation}


@dataclass(frozen=True)
class FaceCoefficients(TensorRecord):
    """Everything a face is made of, given a face model.

    Attributes:
        id: identity, standard-normal prior.
        exp: expression; standard normal, or weights in 0..1 where the model's metadata says ``exp_prior: "box"``.
        tex: albedo, standard-normal prior.
        angles: see ``Pose``.
        sh: spherical-harmonic light per basis function and RGB channel; 0.8 is added to the constant band on use.
        translation: see ``Pose``.
    """

    id: Float[Tensor, "B Kid"]
    exp: Float[Tensor, "B Kexp"]
    tex: Float[Tensor, "B Ktex"]
    angles: Float[Tensor, "B 3"]
    sh: Float[Tensor, "B 9 3"]
    translation: Float[Tensor, "B 3"]

    @property
    def pose(self) -> Pose:
        """Where the heads are."""
        return Pose(self.angles, self.translation)

    def one(self, k: int) -> "FaceCoefficients":
        """The k-th face, as a batch of one."""
        row = slice(k, k + 1)
        return FaceCoefficients(
            self.id[row], self.exp[row], self.tex[row], self.angles[row], self.sh[row], self.translation[row]
        )


@dataclass(frozen=True)
class LandmarkBelief(TensorRecord):
    """Where a network sees the landmarks of one face, and how sure it is of each.

    Attributes:
        points_px: iBUG-68 (3D definition: hidden points where they would be), crop pixels.
        sigma_px: deviation of either coordinate, crop pixels.
    """

    points_px: Float[Tensor, "68 2"]
    sigma_px: Float[Tensor, " 68"]


@dataclass(frozen=True)
class DenseBelief(TensorRecord):
    """What a network sees of one face beside its landmarks, and how sure it is of all that it says.

    Attributes:
        points_px: points of the face model, hidden ones where they would be, crop pixels; the first 68 are iBUG-68.
        sigma_px: deviation of either coordinate, crop pixels.
        depth_px: how much farther from the camera than the head's origin each point is, crop pixels at the origin.
        depth_sigma_px: deviation of that.
        id_sigma: deviation of each identity coefficient of the network's answer.
        exp_sigma: the same of expression.
        tex_sigma: the same of albedo.
    """

    points_px: Float[Tensor, "N 2"]
    sigma_px: Float[Tensor, " N"]
    depth_px: Float[Tensor, " N"]
    depth_sigma_px: Float[Tensor, " N"]
    id_sigma: Float[Tensor, " Kid"]
    exp_sigma: Float[Tensor, " Kexp"]
    tex_sigma: Float[Tensor, " Ktex"]


@dataclass(frozen=True)
class CoefficientLayout:
    """How many coefficients a face model has; it alone packs and unpacks network vectors.

    The vector is: id, exp, tex, angles (3), SH (27, channel by channel: 9 of red, 9 of green, 9 of blue), translation
    (3): the published order of Deep3D, where 80 + 64 + 80 + 3 + 27 + 3 = 257.
    """

    id: int
    exp: int
    tex: int

    @property
    def size(self) -> int:
        """Length of the packed vector."""
        return self.id + self.exp + self.tex + 3 + 27 + 3

    def unpack(self, vector: Float[Tensor, "B K"]) -> FaceCoefficients:
        """Name the parts of network vectors.

        Raises:
            ValueError: the vector's length is not ``size``.
        """
        if vector.shape[-1] != self.size:
            raise ValueError(
                f"expected vectors of {self.size} coefficients ({self}), received {tuple(vector.shape)}; "
                "take the face model that the weights were made for"
            )
        id_part, exp, tex, angles, sh, translation = vector.split([self.id, self.exp, self.tex, 3, 27, 3], dim=-1)
        return FaceCoefficients(id_part, exp, tex, angles, sh.unflatten(-1, (3, 9)).transpose(-1, -2), translation)

    def pack(self, coefficients: FaceCoefficients) -> Float[Tensor, "B K"]:
        """Inverse of ``unpack``."""
        c = coefficients
        return torch.cat([c.id, c.exp, c.tex, c.angles, c.sh.transpose(-1, -2).flatten(-2), c.translation], dim=-1)

    def zeros(self, batch: int = 1) -> FaceCoefficients:
        """The mean face, looking at the camera, in the default light."""
        return self.unpack(torch.zeros(batch, self.size))


@dataclass(frozen=True)
class Embedding(TensorRecord):
    """Points glued to a mesh: each lies in one triangle.

    Attributes:
        corners: vertex ids of the triangle that holds the point.
        weights: barycentric weights; they sum to one.
    """

    corners: Int[Tensor, "L 3"]
    weights: Float[Tensor, "L 3"]

    def of(self, vertices: Float[Tensor, "*B V C"]) -> Float[Tensor, "*B L C"]:
        """Where the points are on these vertices, in their frame; or what else vertices carry, there."""
        return (vertices[..., self.corners, :] * self.weights[..., None]).sum(-2)


@dataclass(frozen=True)
class Annotations(TensorRecord):
    """What is known about a mesh besides its triangles.

    Attributes:
        ibug68: vertex ids of the iBUG-68 landmarks (3D definition: fixed vertices); None if the model has none.
        five: vertex ids per point of the five whose mean is the point (eye corners for the eyes), padded with -1.
        contours: rows of vertex ids over which a jaw landmark slides as the head turns, one row per jaw landmark 0..16,
            ordered from front to back, padded with -1; None if unknown.
        mesh468: embedding of the detector's 468 points; None if unknown.
        mesh468_trust: 0..1 per detector point: how well it is glued.
        regions: name -> soft vertex mask 0..1 (skin, lips, brows, eyes, nose, ears, scalp, photometric, ...).
        face_parts: name of the part -> mask over faces (head, eyes, teeth, tongue, mouth socket), hard.
        mirror: id of each vertex's left-right partner (its own on the midline); None if unknown.
    """

    ibug68: Int[Tensor, "68"] | None = None
    five: Int[Tensor, "5 N"] | None = None
    contours: Int[Tensor, "17 M"] | None = None
    mesh468: Embedding | None = None
    mesh468_trust: Float[Tensor, "468"] | None = None
    regions: dict[str, Float[Tensor, " V"]] = field(default_factory=dict)
    face_parts: dict[str, Bool[Tensor, " F"]] = field(default_factory=dict)
    mirror: Int[Tensor, " V"] | None = None


@dataclass(frozen=True)
class Topology(TensorRecord):
    """What all faces of one mesh share, whoever made them: a face model, a position map, a scan.

    Attributes:
        faces: vertex ids, counter-clockwise from outside.
        uv: texture coordinates, origin bottom-left, 0..1; None if there are none.
        faces_uv: ids into ``uv`` per face corner.
        annotations: landmarks, masks, symmetry.
        morph_names: names of the expression modes, empty strings where they have none.
    """

    faces: Int[Tensor, "F 3"]
    uv: Float[Tensor, "T 2"] | None = None
    faces_uv: Int[Tensor, "F 3"] | None = None
    annotations: Annotations = field(default_factory=Annotations)
    morph_names: tuple[str, ...] = ()

    @cached_property
    def _made(self) -> dict[Hashable, Any]:
        return {}

    def once(self, what: Hashable, make: Callable[[], Made]) -> Made:
        """What follows from this topology alone, made at the first call and kept with it.

        Args:
            what: names it.
            make: makes it; depends on nothing but the topology and what the name says.
        """
        if what not in self._made:
            self._made[what] = make()
        return self._made[what]


@dataclass(frozen=True)
class FaceMesh(TensorRecord):
    """Decoded faces of one topology.

    Attributes:
        vertices: dm; in the model frame when decoded, in the world frame once posed (the function that made it says).
        normals: unit vertex normals in the same frame.
        albedo: RGB reflectance per vertex, coded as ``albedo_space`` says; may leave 0..1.
        faces: vertex ids, counter-clockwise from outside.
        uv: texture coordinates, origin bottom-left, 0..1; None where the model has none.
        faces_uv: ids into ``uv`` per face corner.
        albedo_space: coding of ``albedo``.
    """

    vertices: Float[Tensor, "B V 3"]
    normals: Float[Tensor, "B V 3"]
    albedo: Float[Tensor, "B V 3"]
    faces: Int[Tensor, "F 3"]
    uv: Float[Tensor, "T 2"] | None = None
    faces_uv: Int[Tensor, "F 3"] | None = None
    albedo_space: AlbedoSpace = "linear"


@dataclass(frozen=True)
class Fragments(TensorRecord):
    """What a rasteriser saw at each pixel centre.

    Attributes:
        face_index: id of the nearest face, -1 where there is none.
        barycentrics: weights of that face's three corners, perspective-correct (they interpolate 3D positions
            linearly on the triangle); zero where there is no face. Not differentiable: ``interpolate`` is.
        depth: clip-space z / w of the surface, -1 (near) .. 1 (far); 1 where there is no face.
    """

    face_index: Int[Tensor, "B H W"]
    barycentrics: Float[Tensor, "B H W 3"]
    depth: Float[Tensor, "B H W"]


@dataclass(frozen=True)
class Rendering(TensorRecord):
    """A picture of posed faces.

    Attributes:
        image: shaded colour in the albedo's own coding (linear RGB for the open head), unclamped; black outside.
        mask: coverage, 0..1, with antialiased silhouettes where asked.
        depth_dm: distance along the camera's axis; 0 outside.
        fragments: what was rasterised.
    """

    image: Float[Tensor, "B 3 H W"]
    mask: Float[Tensor, "B 1 H W"]
    depth_dm: Float[Tensor, "B 1 H W"]
    fragments: Fragments


@dataclass(frozen=True)
class MeshAsset(TensorRecord):
    """One face ready to be written to a file; every writer takes this.

    Attributes:
        vertices: dm, right-handed, y up, face along +z.
        normals: unit vertex normals.
        faces: vertex ids, counter-clockwise from outside.
        uv: texture coordinates, origin bottom-left; None if none.
        faces_uv: ids into ``uv`` per face corner.
        colors: sRGB-coded vertex colours, 0..1.
        texture: sRGB-coded picture, row 0 is v = 1 (top); None if none.
        morph_targets: name -> vertex offsets at full weight, dm.
        morph_weights: name -> weight in this face (0 where absent): ``vertices`` are without the targets' effect.
        name: of the object in the file.
        metadata: JSON-able facts that travel with the file (face model, licence).
        texture_png: the texture as a PNG file, where it is encoded once for several formats; else None.
    """

    vertices: Float[Tensor, "V 3"]
    normals: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    uv: Float[Tensor, "T 2"] | None = None
    faces_uv: Int[Tensor, "F 3"] | None = None
    colors: Float[Tensor, "V 3"] | None = None
    texture: Float[Tensor, "3 H W"] | None = None
    morph_targets: dict[str, Float[Tensor, "V 3"]] = field(default_factory=dict)
    morph_weights: dict[str, float] = field(default_factory=dict)
    name: str = "face"
    metadata: dict[str, Any] = field(default_factory=dict)
    texture_png: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class VisibilityMap(TensorRecord):
    """Which texels of a UV texture a photo shows, and how well.

    Attributes:
        confidence: 0 (hidden) .. 1 (seen head-on).
        covered: texels that belong to the mesh at all.
    """

    confidence: Float[Tensor, "H W"]
    covered: Bool[Tensor, "H W"]
