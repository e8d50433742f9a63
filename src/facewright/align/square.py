"""PRNet's crop (docs/coming-from-prnet.md): an upright square around the box of a face's landmarks.

The square [centre - size / 2, centre + size / 2] becomes the pixel centres 0 .. S - 1 of the crop. Boxes are x0, y0,
x1, y1 here as everywhere; PRNet's own order is left, right, top, bottom.
"""

from dataclasses import dataclass

import cv2
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.align.crop import photo_camera
from facewright.errors import ReconstructionError
from facewright.geometry.five_points import five_from_68
from facewright.geometry.frames import apply_homogeneous
from facewright.geometry.pixels import reduced_part
from facewright.records import AlignedFace, Camera, FaceDetection, Photo

BOX_FACTOR = 1.6
"""Side of the square over the mean side of a box, of landmarks or given."""
DLIB_FACTOR, DLIB_DROP = 1.58, 0.14
"""The same for the box of dlib's face detector, and how much lower the square's centre is, in mean sides."""
GUESSED = 0.0
"""Score of a face that nobody has seen: its points are the mean face's in a square."""
WEAK_DISTANCE_DM = 1000.0
"""So far away a camera sees as in weak perspective: within a head sizes differ by 0.1 %."""
_MOST_SIDE_PX = 200_000.0


@dataclass(frozen=True)
class Square:
    """A square in a photo.

    Attributes:
        x: column of its centre, px.
        y: row of its centre, px.
        side: px.
    """

    x: float
    y: float
    side: float


def square_of_box(
    box: Float[Tensor, "4"], *, factor: float = BOX_FACTOR, drop: float = 0.0, whole: bool = False
) -> Square:
    """The square around a box.

    Args:
        box: x0, y0, x1, y1, photo px.
        factor: its side over the box's mean side.
        drop: how far its centre lies below the box's, in mean sides.
        whole: cut the decimals of the side off, as the published program does.

    Raises:
        ReconstructionError: the box is empty or not finite.
    """
    x0, y0, x1, y1 = box.double().tolist()
    mean = (x1 - x0 + y1 - y0) / 2
    side = float(int(factor * mean)) if whole and abs(mean) < _MOST_SIDE_PX else factor * mean
    if not (x1 > x0 and y1 > y0 and 1.0 <= side <= _MOST_SIDE_PX):
        raise ReconstructionError(
            f"expected a box x0, y0, x1, y1 that holds a face, received {box.tolist()}; PRNet's own order is left, "
            "right, top, bottom"
        )
    return Square((x0 + x1) / 2, (y0 + y1) / 2 + drop * mean, side)


def square_of_points(points: Float[Tensor, "N D"], *, factor: float = BOX_FACTOR, whole: bool = False) -> Square:
    """The square around landmarks, 2D or 3D, photo px; arguments and errors as ``square_of_box``."""
    flat = points[:, :2]
    return square_of_box(torch.cat([flat.amin(0), flat.amax(0)]), factor=factor, whole=whole)


def square_of_five(
    five: Float[Tensor, "5 2"], points_dm: Float[Tensor, "68 3"], of_five: Float[Tensor, "5 3"]
) -> Square:
    """The square around landmarks of which five points are known: where an affine camera sees the mean face's.

    Args:
        five: photo px: eyes, nose tip, mouth corners.
        points_dm: landmarks of the mean face, model frame.
        of_five: the five points of the mean face.

    Raises:
        ReconstructionError: the points are not finite or coincide.
    """
    if not bool(five.isfinite().all()):
        raise ReconstructionError(f"expected finite points, received {five.tolist()}; detect or mark the face again")
    camera = torch.linalg.pinv(_homogeneous(of_five)) @ five.double().cpu()
    return square_of_points(_homogeneous(points_dm) @ camera)


def whole_square(photo: Photo) -> Square:
    """The whole picture as a crop that somebody has cut already: its pixel centres are the crop's, if it is square."""
    side = max(photo.width, photo.height) - 1
    return Square((photo.width - 1) / 2, (photo.height - 1) / 2, float(max(1, side)))


def face_in_square(square: Square, landmarks_dm: Float[Tensor, "68 3"]) -> FaceDetection:
    """A face of which nothing but its square is known: the mean face from the front, as large as that says.

    ``square_of_five`` of its five points is the square again.

    Args:
        square: of a face: ``square_of_box``, ``square_of_points``, or ``whole_square``.
        landmarks_dm: iBUG-68 of the mean face, model frame.
    """
    points = landmarks_dm[:, :2].double().cpu()
    low, high = points.amin(0), points.amax(0)
    step = square.side / (BOX_FACTOR * float((high - low).mean()))
    middle = points.new_tensor([square.x, square.y])
    placed = (middle + step * (points - (low + high) / 2) * points.new_tensor([1.0, -1.0])).float()
    return FaceDetection(torch.cat([placed.amin(0), placed.amax(0)]), GUESSED, five_from_68(placed))


def crop_square(
    photo: Photo, square: Square, five: Float[Tensor, "5 2"], *, size: int = 256, smooth: bool = True
) -> AlignedFace:
    """Cut a square from a photo: bilinear, black outside of it.

    The cameras are far away (``WEAK_DISTANCE_DM``): what a map says in weak perspective they see as it says.

    Args:
        photo: upright photo.
        square: in it.
        five: photo pixels; only carried along.
        size: side of the crop, px.
        smooth: average first where the crop is less than half as fine as the photo; the published program does not.

    Raises:
        ReconstructionError: the square lies outside of the photo.
    """
    step = square.side / (size - 1)
    left, top = square.x - square.side / 2, square.y - square.side / 2
    if left >= photo.width or top >= photo.height or left + square.side <= 0 or top + square.side <= 0:
        raise ReconstructionError(
            f"expected a face inside the photo, received a square around ({square.x:g}, {square.y:g}) in "
            f"{photo.width} x {photo.height} pixels; check that it belongs to this photo"
        )
    T_photo_crop = torch.tensor([[step, 0.0, left], [0.0, step, top], [0.0, 0.0, 1.0]], dtype=torch.float64)
    device = photo.pixels.device
    middle = torch.full((1,), (size - 1) / 2, device=device)
    camera_crop = Camera(
        torch.full((1,), 100.0 * WEAK_DISTANCE_DM, device=device), middle, middle.clone(), size, size, WEAK_DISTANCE_DM
    )
    T_photo_crop = T_photo_crop.to(device)
    params = [photo.width, photo.height, 1.0 / step, square.x, photo.height - 1 - square.y]
    return AlignedFace(
        crop=_warped(photo, left, top, step, size, int(step) if smooth else 1).to(device),
        T_photo_crop=T_photo_crop,
        trans_params=torch.tensor(params, dtype=torch.float64, device=device),
        camera_crop=camera_crop,
        camera_photo=photo_camera(camera_crop, T_photo_crop, photo.width, photo.height),
        five_crop=apply_homogeneous(torch.linalg.inv(T_photo_crop), five.to(device)).float(),
    )


def _homogeneous(points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 4"]:
    return torch.nn.functional.pad(points.double().cpu(), (0, 1), value=1.0)


def _warped(photo: Photo, left: float, top: float, step: float, size: int, factor: int) -> Float[Tensor, "3 S S"]:
    """The square's pixels; of the photo only what it shows becomes floating point."""
    factor = max(1, factor)
    x0, y0 = (max(0, int(place) - 2 * factor) for place in (left, top))
    reach = step * size + 3 * factor
    x1, y1 = min(photo.width, int(left + reach) + 1), min(photo.height, int(top + reach) + 1)
    columns, rows = max(1, (x1 - x0) // factor), max(1, (y1 - y0) // factor)
    part = reduced_part(photo, x0, y0, min(x1, x0 + columns * factor), min(y1, y0 + rows * factor), factor)
    picture = part.permute(1, 2, 0).cpu().contiguous().numpy()
    # middles of pixels of the reduced part: (x - x0 + 0.5) / factor - 0.5
    offsets = [(left - x0 + 0.5) / factor - 0.5, (top - y0 + 0.5) / factor - 0.5]
    T_part = torch.tensor([[step / factor, 0.0, offsets[0]], [0.0, step / factor, offsets[1]]]).double().numpy()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(picture, T_part, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return torch.from_numpy(warped).permute(2, 0, 1).contiguous()
