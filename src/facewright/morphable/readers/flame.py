"""FLAME 2020, 2023 and 2023 Open: pickles read without running them (docs/face-models.md)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from facewright.errors import FaceModelError
from facewright.geometry.five_points import deep3d_template
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.arrays import (
    file_digests,
    first_modes,
    ids_from_zero,
    numbers,
    pick,
    require_files,
    shaped,
)
from facewright.morphable.readers.assembly import SourceMesh, face_model_from_source
from facewright.morphable.readers.frame import (
    ModelFrame,
    five_ids_from_68,
    five_points,
    frame_from_five,
)
from facewright.morphable.readers.landmarks import heaviest_corners
from facewright.morphable.readers.obj import read_obj
from facewright.morphable.readers.report import ImportProgress, ImportReport, MissingPart, silent
from facewright.morphable.readers.restricted_pickle import load_arrays
from facewright.morphable.readers.topology import winds_outwards
from facewright.untrusted import read_npz, reading

Joint = Literal["neck", "jaw", "left_eye", "right_eye"]
JOINTS = {"neck": 1, "jaw": 2, "left_eye": 3, "right_eye": 4}

MODEL = MissingPart(
    "the FLAME model (generic_model.pkl, flame2023.pkl, flame2023_no_jaw.pkl or flame2023_Open.pkl)",
    "register at https://flame.is.tue.mpg.de (2023 Open: CC-BY-4.0 and use terms; others: research only)",
    "FLAME_texture.npz or the albedo model, which hold no shape",
)
LANDMARKS = MissingPart(
    "68 landmarks (landmark_embedding.npy)",
    "https://github.com/yfeng95/DECA: data/landmark_embedding.npy; flame_static_embedding.pkl has 51 of them",
    "flame_dynamic_embedding.npy, which holds the jaw line only",
)
MASKS = MissingPart("regions (FLAME_masks.pkl)", "FLAME vertex masks at https://flame.is.tue.mpg.de/download.php")
TEMPLATE = MissingPart(
    "texture coordinates (head_template.obj)", "https://github.com/yfeng95/DECA: data/head_template.obj"
)
ALBEDO = MissingPart(
    "albedo", "the FLAME texture space is a picture space and is not read; one skin tone, where none is borrowed"
)
_M_TO_DM = 10.0
_MODES = (300, 100)
_RADIANS_PER_UNIT = 0.1
_EYE_CENTRE_DEPTH_DM = 0.12


@dataclass(frozen=True)
class FlameArguments:
    """FLAME 2020, 2023 or 2023 Open."""

    model: Path
    """generic_model.pkl, flame2023.pkl, flame2023_no_jaw.pkl or flame2023_Open.pkl."""
    landmarks: Path | None = None
    """landmark_embedding.npy (68 points) or flame_static_embedding.pkl (51, no jaw line); needed to fit photos."""
    masks: Path | None = None
    """FLAME_masks.pkl."""
    template: Path | None = None
    """head_template.obj, for its texture coordinates."""
    joints: tuple[Joint, ...] = ("jaw",)
    """Joints that become three linear expression modes each (0.1 radian per unit, exact for small angles)."""
    num_id: int = 0
    """Identity modes to keep; 0 keeps all 300."""
    num_exp: int = 0
    """Expression modes to keep, joints not counted; 0 keeps all 100."""


def import_flame(
    model: Path,
    *,
    landmarks: Path | None = None,
    masks: Path | None = None,
    template: Path | None = None,
    joints: tuple[Joint, ...] = ("jaw",),
    num_id: int = 0,
    num_exp: int = 0,
    progress: ImportProgress = silent,
) -> tuple[FaceModel, ImportReport]:
    """Read FLAME, metres; rotations of the named joints become linear expression modes.

    A joint mode is the first derivative of FLAME's own posing (skinning and pose correctives, at the mean face) by the
    angle about one axis, times 0.1 radian: right to 1 mm of jaw motion up to about 0.15 radian.

    Args:
        model: pickle (or ``.npz`` with the same keys); it is never executed, and chumpy is not needed.
        landmarks: embedding of 68 or 51 landmarks.
        masks: named vertex masks.
        template: OBJ of the same topology with texture coordinates.
        joints: which joints to fold in.
        num_id: identity modes to keep, 0 for all.
        num_exp: expression modes to keep, 0 for all.
        progress: told what is being done.

    Raises:
        AssetNotFoundError: a file is missing.
        FaceModelError: a file is malformed, or its pickle wants to call something.
    """
    optional = [(landmarks, LANDMARKS), (masks, MASKS), (template, TEMPLATE)]
    given = [(path, part) for path, part in optional if path is not None]
    require_files([(model, MODEL), *given])
    progress("arrays", 0.0)
    arrays, file = _read_arrays(model), model.name
    mean = shaped(pick(arrays, "v_template", file), (None, 3), f"{file}: v_template").astype(np.float64)
    count = len(mean)
    faces = ids_from_zero(shaped(pick(arrays, "f", file), (None, 3), f"{file}: f"), count, f"{file}: f")
    shapes = shaped(pick(arrays, "shapedirs", file), (count, 3, sum(_MODES)), f"{file}: shapedirs")
    kept_id = first_modes(num_id, _MODES[0], f"{file}: shapedirs")
    kept_exp = first_modes(num_exp, _MODES[1], f"{file}: shapedirs")
    progress("joints", 0.4)
    rig = _read_rig(arrays, mean, file)
    joint_modes = [rig.mode(JOINTS[joint], axis, mean) for joint in joints for axis in range(3)]
    expression = shapes[:, :, _MODES[0] : _MODES[0] + kept_exp]
    notes = [f"{joint} rotation: three linear modes of {_RADIANS_PER_UNIT} radian per unit" for joint in joints]
    faces_uv, uv = None, None
    if template is not None:
        uv, faces_uv = _texture(template, faces)
    if not winds_outwards(mean, faces):
        faces, faces_uv = faces[:, ::-1], None if faces_uv is None else faces_uv[:, ::-1]
        notes.append("triangles were turned to be counter-clockwise from outside")
    ids = None if landmarks is None else _read_landmarks(landmarks, arrays, count, file)
    five = None if ids is None else five_ids_from_68(ids)
    progress("assembling", 0.8)
    if five is None:
        notes.append("no landmarks: the model was placed by its eye joints, not turned")
    built = face_model_from_source(
        SourceMesh(
            mean_shape=mean,
            id_basis=shapes[:, :, :kept_id],
            exp_basis=np.concatenate([expression, *joint_modes], 2),
            faces=faces,
            uv=uv,
            faces_uv=faces_uv,
            exp_names=[""] * kept_exp + [f"{joint}_{axis}" for joint in joints for axis in ("pitch", "yaw", "roll")],
            ibug68=ids if ids is not None and (ids >= 0).all() else None,
            five=five,
            regions={} if masks is None else _read_masks(masks, count),
        ),
        rig.frame_from_eyes()
        if five is None
        else frame_from_five(five_points(mean, five), unit="metre", scale=_M_TO_DM, what=file),
        {
            "name": f"flame-{model.stem}",
            "version": model.stem,
            "licence": "FLAME licence of that version (2023 Open: CC-BY-4.0 and use terms; others: non-commercial)",
            "source": f"FLAME (Li et al. 2017), file {file}, https://flame.is.tue.mpg.de",
            "source_files": file_digests([model, *(path for path, _ in given)]),
            "albedo_space": "linear",
            "exp_prior": "normal",
            "joint_modes_radians_per_unit": _RADIANS_PER_UNIT,
        },
    )
    progress("done", 1.0)
    return built, _report(built, kept_exp, ids, optional, notes)


@dataclass(frozen=True)
class _Rig:
    """FLAME's joints at the mean face.

    ``positions`` (5,3): metres. ``weights`` (V,5): skinning. ``pose_basis`` (V,3,36): correctives per entry of R - I of
    the joints 1..4. ``parents``: -1 at the root.
    """

    positions: Float[np.ndarray, "J 3"]
    weights: Float[np.ndarray, "V J"]
    pose_basis: Float[np.ndarray, "V 3 P"]
    parents: tuple[int, ...]

    def mode(self, joint: int, axis: int, mean: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3 1"]:
        """Displacement per unit of turning a joint about an axis, to first order."""
        turned = [k for k in range(len(self.parents)) if joint in self._ancestors(k)]
        direction = np.eye(3)[axis]
        swing = np.cross(direction, mean - self.positions[joint]) * self.weights[:, turned].sum(1, keepdims=True)
        generator = np.cross(np.eye(3), direction)  # derivative of the rotation matrix at zero angle
        correctives = self.pose_basis[:, :, 9 * (joint - 1) : 9 * joint] @ generator.ravel()
        return _RADIANS_PER_UNIT * (swing + correctives)[..., None]

    def _ancestors(self, joint: int) -> list[int]:
        chain = [joint]
        while self.parents[chain[-1]] >= 0:
            chain.append(self.parents[chain[-1]])
        return chain

    def frame_from_eyes(self) -> ModelFrame:
        """FLAME's axes are ours; its eyeball centres lie a little behind the middle of the lids' corners."""
        eyes = _M_TO_DM * self.positions[[JOINTS["left_eye"], JOINTS["right_eye"]]].mean(0)
        target = deep3d_template().numpy()[:2].mean(0) - [0.0, 0.0, _EYE_CENTRE_DEPTH_DM]
        return ModelFrame("metre", _M_TO_DM, np.eye(3), target - eyes)


def _read_arrays(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if not zipped:
        return load_arrays(path)
    with reading(path.name, FaceModelError, "a whole .npz of plain arrays", "download it again"):
        return read_npz(path)


def _read_rig(arrays: dict[str, Any], mean: Float[np.ndarray, "V 3"], file: str) -> _Rig:
    count = len(mean)
    regressor = shaped(pick(arrays, "J_regressor", file), (5, count), f"{file}: J_regressor")
    weights = shaped(pick(arrays, "weights", file), (count, 5), f"{file}: weights")
    pose_basis = shaped(pick(arrays, "posedirs", file), (count, 3, 36), f"{file}: posedirs")
    parents = shaped(pick(arrays, "kintree_table", file), (2, 5), f"{file}: kintree_table")[0]
    named = (parents >= 0) & (parents <= 4)  # the root's parent is -1, often kept unsigned
    parents = np.where(named, parents, 0).astype(np.int64) - ~named
    if parents[0] != -1 or (parents[1:] < 0).any() or (parents >= np.arange(5)).any():
        raise FaceModelError(
            f"{file}: expected kintree_table with parents before children, received {parents.tolist()}"
        )
    return _Rig(regressor @ mean, weights, pose_basis, tuple(int(p) for p in parents))


def _read_landmarks(path: Path, model: dict[str, Any], count: int, file: str) -> Int[np.ndarray, "68"]:
    """Vertex ids of the 68 landmarks; -1 for the jaw line where the embedding has 51 points only."""
    table, name = _read_arrays(path), path.name
    faces = ids_from_zero(model["f"], count, f"{file}: f")
    full = "full_lmk_faces_idx" in table
    keys = ("full_lmk_faces_idx", "full_lmk_bary_coords") if full else ("lmk_face_idx", "lmk_b_coords")
    points = 68 if full else 51
    holders = shaped(numbers(pick(table, keys[0], name), f"{name}: {keys[0]}").ravel(), (points,), f"{name}: {keys[0]}")
    weights = numbers(pick(table, keys[1], name), f"{name}: {keys[1]}")
    weights = shaped(weights.ravel(), (3 * points,), f"{name}: {keys[1]}").astype(np.float64).reshape(points, 3)
    corners = faces[ids_from_zero(holders, len(faces), f"{name}: {keys[0]}")]
    ids = np.full(68, -1, np.int64)
    ids[68 - points :] = heaviest_corners(corners, weights, f"{name}: {keys[1]}")
    return ids


def _read_masks(path: Path, count: int) -> dict[str, Float[np.ndarray, " V"]]:
    regions = {}
    for name, ids in _read_arrays(path).items():
        mask = np.zeros(count, np.float32)
        mask[ids_from_zero(ids, count, f"{path.name}: {name}")] = 1.0
        regions[name] = mask
    return regions


def _texture(path: Path, faces: Int[np.ndarray, "F 3"]) -> tuple[np.ndarray, np.ndarray]:
    mesh = read_obj(path)
    if mesh.uv is None or mesh.faces_uv is None:
        raise FaceModelError(f"{path.name}: expected texture coordinates, found none; take head_template.obj")
    if not np.array_equal(mesh.faces, faces):
        raise FaceModelError(
            f"{path.name}: expected the model's own triangles, received others; take head_template.obj"
        )
    return mesh.uv, mesh.faces_uv


def _report(
    model: FaceModel,
    kept_exp: int,
    ids: np.ndarray | None,
    optional: list[tuple[Path | None, MissingPart]],
    notes: list[str],
) -> ImportReport:
    known = 0 if ids is None else int((ids >= 0).sum())
    missing = [part for path, part in optional if path is None]
    if 0 < known < 68:
        missing.insert(0, MissingPart("the 17 jaw landmarks", LANDMARKS.where, LANDMARKS.wrong_file))
    layout = model.layout
    found = (
        f"FLAME: {len(model.mean_shape)} vertices, {len(model.faces)} triangles, metres",
        f"{layout.id} identity modes, {kept_exp} expression modes, {layout.exp - kept_exp} joint modes",
        f"{known} landmarks, {len(model.annotations.regions)} regions",
    )
    return ImportReport("flame", found, (*missing, ALBEDO), tuple(notes))
