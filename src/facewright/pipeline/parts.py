"""What the pixels around a face show: the head's own surface, hair, or things before it; by the parsing network."""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.align import CROP_RESCALE, align_face
from facewright.errors import ReconstructionError
from facewright.geometry.frames import CROP_SIZE, apply_homogeneous
from facewright.inference import Inference
from facewright.records import PARTS, Photo, TensorRecord
from facewright.regress.parsing import VIEW, ParsingNet
from facewright.regress.weights import EMBEDDED_PARSING, load_weights

SURE = (0.4, 0.85)
"""Share of what belongs to a head in a pixel up to which nothing is taken from it, and from which on all is."""
STRANGE = 0.5
"""Mean share of hair and background at eyes, nose and mouth above which a network's answer is not believed."""
BORDER_PX = 1
"""Of the crop, some 2.5 mm: so near to what is not the head's nothing is taken: shadows of hair, soft borders."""


@dataclass(frozen=True)
class FaceParts(TensorRecord):
    """What the pixels around a face show.

    Attributes:
        shares: of ``PARTS`` in the pixels of a crop, 0..1; they sum to 1.
        T_crop_photo: homogeneous map of photo pixels to the crop's.
    """

    shares: Float[Tensor, "4 S S"]
    T_crop_photo: Float[Tensor, "3 3"]


@cache
def _parser() -> tuple[Inference, int]:
    """The embedded network, and the side of its crops."""
    net: ParsingNet = load_weights(EMBEDDED_PARSING, kind="parsing")
    return Inference(net, lambda crops: {"shares": net(crops)}, side=net.crop_size), net.crop_size


def find_parts(photo: Photo, five: Float[Tensor, "5 2"]) -> FaceParts | None:
    """What the pixels around a face show.

    Args:
        photo: upright.
        five: the face's five points, photo px.

    Returns:
        None where the points span no face in the photo, or where the network sees neither a head nor anything before it
        at most of them: a picture of a kind that it does not know.
    """
    parser, size = _parser()
    try:
        seen = align_face(photo, five, size=size, rescale=CROP_RESCALE * size / (CROP_SIZE * VIEW), exact=False)
    except ReconstructionError:
        return None
    shares = parser(seen.crop[None].cpu())["shares"][0].to(seen.crop)
    column, row = seen.five_crop.round().long().clamp(0, size - 1).unbind(-1)
    strange = shares[:, row, column][[PARTS.index(name) for name in ("other", "hair")]].sum(0).mean()
    return None if float(strange) > STRANGE else FaceParts(shares, torch.linalg.inv(seen.T_photo_crop).to(seen.crop))


def own_share(
    parts: FaceParts, places_px: Float[Tensor, "P 2"], scalp: Float[Tensor, " P"] | None = None
) -> Float[Tensor, " P"]:
    """How surely the photo shows, at places on a head's surface, what belongs there, 0..1; soft at borders.

    Hair belongs to the scalp and nowhere else.

    Args:
        parts: of the face.
        places_px: of the points, photo px.
        scalp: how far each is on the scalp, 0..1; None where that is not known.
    """
    head, hair = (parts.shares[PARTS.index(name)] for name in ("head", "hair"))
    reach = 2 * BORDER_PX + 1
    least = -torch.nn.functional.max_pool2d(-torch.stack([head, head + hair])[None], reach, 1, BORDER_PX)
    shares = least[0].to(places_px)
    at = apply_homogeneous(parts.T_crop_photo.to(places_px), places_px)
    grid = ((2.0 * at + 1.0) / shares.shape[-1] - 1.0)[None, None]
    read = torch.nn.functional.grid_sample(shares[None], grid, padding_mode="border", align_corners=False)[0, :, 0]
    own = read[0] if scalp is None else torch.lerp(read[0], read[1], scalp)
    low, high = SURE
    t = ((own - low) / (high - low)).clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
