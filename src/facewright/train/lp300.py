"""300W-LP as truth for position maps (docs/coming-from-prnet.md): its fitted coefficients become maps of its pictures.

The files say, per picture, which face of the Basel model was fitted, and where, in weak perspective: a point is
``scale R(pitch, yaw, roll) v + t`` with y up. They were written by MATLAB, whose pixels are counted from 1: column
x - 1 and row h - y are where the point is. The program that made PRNet's own labels kept x and took h - y - 1, so that
its maps, and what was learnt from them, lie a pixel to the right of the picture and above it.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.align.square import WEAK_DISTANCE_DM, Square, crop_square
from facewright.errors import TrainingDataError
from facewright.geometry.five_points import five_from_68
from facewright.geometry.frames import CAMERA_DISTANCE_DM
from facewright.geometry.rotations import angles_from_rotation
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.bfm_face3d import DEVIATIONS
from facewright.morphable.readers.frame import source_from_model
from facewright.photo import read_photo
from facewright.records import FaceCoefficients, TensorRecord
from facewright.regress.prnet import SQUARE_CROPS
from facewright.train.samples import MARGIN_SHARE, DataCard, TrainingSample, empty_points
from facewright.untrusted import read_mat, reading

PixelOrigin = Literal["exact", "face3d"]
"""Where the files' pixels are: where they were meant, or as the published labels have them."""
TRAINING_FACTOR, MOVED, RESIZED = 1.5, 0.1, 0.1
"""Side of a training square over the mean side of the landmarks' box, and how far it is moved and resized at random."""
_ENTRIES = ("Shape_Para", "Exp_Para", "Pose_Para")


@dataclass(frozen=True)
class FittedFace(TensorRecord):
    """What a file of 300W-LP or AFLW2000-3D says of its picture.

    Attributes:
        shape: coefficients of the unscaled identity basis.
        exp: of the expression basis.
        angles: pitch, yaw, roll, radians, with the signs of 3DDFA.
        translation: px, y up.
        scale: px per unit of the vertices.
    """

    shape: Float[Tensor, " Kid"]
    exp: Float[Tensor, " Kexp"]
    angles: Float[Tensor, "3"]
    translation: Float[Tensor, "3"]
    scale: float


@dataclass(frozen=True)
class FittedBasis(TensorRecord):
    """The model that the coefficients are of, in its own unit.

    Attributes:
        mean: of shape and expression together.
        shape: unscaled identity modes.
        exp: expression modes.
    """

    mean: Float[Tensor, "V 3"]
    shape: Float[Tensor, "V 3 Kid"]
    exp: Float[Tensor, "V 3 Kexp"]


def read_300wlp(path: Path) -> FittedFace:
    """Read one ``.mat``.

    Raises:
        TrainingDataError: malformed, or without coefficients.
    """
    with reading(path, TrainingDataError, f"a .mat of 300W-LP with {', '.join(_ENTRIES)}", "fetch it again"):
        found = read_mat(path, _ENTRIES)
        shape, exp, pose = (np.array(found[name], np.float64).ravel() for name in _ENTRIES)
        if len(pose) != 7 or not all(np.isfinite(values).all() for values in (shape, exp, pose)) or pose[6] <= 0:
            raise ValueError(f"{len(pose)} numbers of a pose, or some that are not finite")
    tensors = [torch.from_numpy(values) for values in (shape, exp, pose[:3], pose[3:6])]
    return FittedFace(*tensors, scale=float(pose[6]))


def fitted_points(
    face: FittedFace, basis: FittedBasis, height: int, *, origin: PixelOrigin = "exact"
) -> Float[Tensor, "V 3"]:
    """Where the vertices are in the picture: column, row (y down), and depth toward the camera, px.

    Args:
        face: what the file says.
        basis: of the model that it says it of.
        height: of the picture, px.
        origin: ``face3d`` repeats the shift of the published labels.

    Raises:
        TrainingDataError: the basis has other numbers of modes.
    """
    modes = (basis.shape.shape[-1], basis.exp.shape[-1])
    if modes != (len(face.shape), len(face.exp)):
        raise TrainingDataError(
            f"expected {modes[0]} shape and {modes[1]} expression coefficients, received {len(face.shape)} and "
            f"{len(face.exp)}; take the model that the files were fitted with (199 and 29)"
        )
    vertices = basis.mean + basis.shape @ face.shape.to(basis.shape) + basis.exp @ face.exp.to(basis.exp)
    posed = face.scale * vertices.double() @ rotation_3ddfa(face.angles).T + face.translation
    x, y, z = posed.unbind(-1)
    exact = origin == "exact"
    return torch.stack([x - 1.0 if exact else x, height - y if exact else height - y - 1.0, z], -1)


def rotation_3ddfa(angles: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """Rx Ry Rz, each turning the other way than a right-handed rotation."""
    (cx, cy, cz), (sx, sy, sz) = angles.double().cos().tolist(), angles.double().sin().tolist()
    rx = torch.tensor([[1, 0, 0], [0, cx, sx], [0, -sx, cx]], dtype=torch.float64)
    ry = torch.tensor([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]], dtype=torch.float64)
    rz = torch.tensor([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]], dtype=torch.float64)
    return rx @ ry @ rz


def training_square(landmarks: Float[Tensor, "68 D"], rng: np.random.Generator | None = None) -> Square:
    """The square that a picture is cut by, around the whole parts of its landmarks, moved and resized at random.

    Args:
        landmarks: of the model, photo px.
        rng: None neither moves nor resizes.
    """
    whole = landmarks[:, :2].trunc()
    low, high = whole.amin(0), whole.amax(0)
    mean = float((high - low).sum()) / 2
    side = float(int(TRAINING_FACTOR * mean))
    (x, y), draws = ((low + high) / 2).tolist(), np.zeros(3) if rng is None else rng.uniform(-1.0, 1.0, 3)
    return Square(
        x + MOVED * mean * float(draws[0]), y + MOVED * mean * float(draws[1]), side * (1 + RESIZED * float(draws[2]))
    )


def points_in_square(points_px: Float[Tensor, "V 3"], square: Square, size: int = 256) -> Float[Tensor, "V 3"]:
    """Photo pixels to those of a square's crop; depths are resized too, and counted from the deepest vertex."""
    step = square.side / (size - 1)
    corner = points_px.new_tensor([square.x - square.side / 2, square.y - square.side / 2, 0.0])
    placed = (points_px - corner) / step
    return torch.cat([placed[:, :2], placed[:, 2:] - placed[:, 2].min()], -1)


@dataclass(frozen=True)
class FittedModel:
    """The face model of the files, as ``facewright model import bfm-face3d`` writes it.

    Attributes:
        model: with landmarks.
        id_std: deviations of its identity modes; the files' coefficients are multiplied by them.
        exp_std: of its expression modes.
    """

    model: FaceModel
    id_std: Float[Tensor, " Kid"]
    exp_std: Float[Tensor, " Kexp"]

    @classmethod
    def of(cls, model: FaceModel) -> "FittedModel":
        """What a face model knows of how it was made.

        Raises:
            TrainingDataError: it was not imported by ``bfm-face3d``.
        """
        stds = model.metadata.get(DEVIATIONS)
        if not isinstance(stds, dict) or model.annotations.ibug68 is None:
            raise TrainingDataError(
                f"expected the face model of 300W-LP, whose modes' deviations are known, received {model.name!r}; "
                "import face3d's BFM.mat with 'facewright model import bfm-face3d'"
            )
        id_std, exp_std = (torch.tensor(stds[name], dtype=torch.float64) for name in ("id", "exp"))
        if (len(id_std), len(exp_std)) != (model.layout.id, model.layout.exp):
            raise TrainingDataError(
                f"{model.name!r} has {model.layout.id} identity and {model.layout.exp} expression modes and deviations "
                f"of {len(id_std)} and {len(exp_std)}; import it again"
            )
        return cls(model, id_std, exp_std)

    def coefficients(self, face: FittedFace) -> tuple[Float[Tensor, "1 Kid"], Float[Tensor, "1 Kexp"]]:
        """Identity and expression in our unit.

        Raises:
            TrainingDataError: the file has other numbers of them.
        """
        received, expected = (len(face.shape), len(face.exp)), (len(self.id_std), len(self.exp_std))
        if received != expected:
            raise TrainingDataError(
                f"expected {expected[0]} shape and {expected[1]} expression coefficients, received {received[0]} and "
                f"{received[1]}; take the model that the files were fitted with (199 and 29)"
            )
        return (face.shape / self.id_std)[None].float(), (face.exp / self.exp_std)[None].float()

    def landmarks_px(self, face: FittedFace, height: int, origin: PixelOrigin) -> Float[Tensor, "68 3"]:
        """iBUG-68 in the picture: column, row and depth toward the camera, px."""
        ids, (identity, exp) = self.model.annotations.ibug68, self.coefficients(face)
        points = self.model.shape(identity, exp)[0, ids].double().numpy()
        marks = torch.from_numpy(source_from_model(points, self.model.metadata))
        none = marks.new_zeros(68, 3, 0)
        bare = FittedFace(none[0, 0], none[0, 0], face.angles, face.translation, face.scale)
        return fitted_points(bare, FittedBasis(marks, none, none), height, origin=origin)


@dataclass(frozen=True)
class FittedSampler:
    """Makes the sample of one picture of 300W-LP, in any process.

    Attributes:
        root: folder that names are relative to; beside each picture lies its ``.mat``.
        face_model: file of the face model.
        crop_size: side of the stored crops, px.
        origin: where the files' pixels are.
    """

    root: Path
    face_model: str
    crop_size: int = 256
    origin: PixelOrigin = "exact"

    def __call__(self, name: str) -> list[TrainingSample]:
        """The face of a picture, in the published square.

        Raises:
            PhotoError: the picture cannot be read.
            TrainingDataError: its ``.mat`` is missing, malformed, or of another model.
        """
        fitted = _fitted_model(self.face_model)
        photo, file = read_photo(self.root / name), (self.root / name).with_suffix(".mat")
        if not file.is_file():
            raise TrainingDataError(f"expected {file.name} beside the picture, found none; leave the picture out")
        face = read_300wlp(file)
        marks = fitted.landmarks_px(face, photo.height, self.origin)
        square, margin = training_square(marks), round(self.crop_size * MARGIN_SHARE)
        step = square.side / (self.crop_size - 1)
        window = Square(square.x, square.y, square.side + 2 * margin * step)
        seen = crop_square(photo, window, five_from_68(marks[:, :2]).float(), size=self.crop_size + 2 * margin)
        corner = marks.new_tensor([square.x - square.side / 2, square.y - square.side / 2])
        identity, exp = fitted.coefficients(face)
        tex = fitted.model.layout.tex
        truth = FaceCoefficients(
            identity,
            exp,
            torch.zeros(1, tex),
            angles_from_rotation(rotation_3ddfa(face.angles)[None]).float(),
            torch.zeros(1, 9, 3),
            torch.tensor([[0.0, 0.0, CAMERA_DISTANCE_DM - WEAK_DISTANCE_DM]]),
        )
        pixels = (seen.crop.permute(1, 2, 0) * 255.0).round().clamp(0, 255).to(torch.uint8).numpy()
        return [
            TrainingSample(
                name,
                np.ascontiguousarray(pixels),
                np.zeros(pixels.shape[:2], np.uint8),
                margin,
                ((marks[:, :2] - corner) / step).float().numpy(),
                np.ones(68, np.float32),
                *empty_points(468),
                fitted.model.layout.pack(truth)[0].numpy(),
            )
        ]


def fitted_card(sampler: FittedSampler) -> DataCard:
    """What data of a ``FittedSampler`` are. Their truth would not hold in mirrored pictures: 300W-LP brings its own.

    Raises:
        AssetNotFoundError, FaceModelError: of the face model.
        TrainingDataError: it is another one than that of the files.
    """
    model = _fitted_model(sampler.face_model).model
    return DataCard(
        "synthetic",
        sampler.crop_size,
        round(sampler.crop_size * MARGIN_SHARE),
        template=SQUARE_CROPS,
        face_model=model.name,
        face_model_edition=model.edition,
        layout=model.layout,
        source=f"pictures and fitted coefficients of 300W-LP, pixels counted {sampler.origin}",
    )


@cache
def _fitted_model(face_model: str) -> FittedModel:
    """Loaded once a process."""
    return FittedModel.of(load_face_model(face_model))
