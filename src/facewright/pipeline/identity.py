"""Who is seen in a photo: 128 numbers a face by the identity network in the package."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.align import five_from_68
from facewright.align.chips import identity_chips
from facewright.pipeline.face import FaceInPhoto
from facewright.regress.identity import DESCRIPTOR, IdentityNet
from facewright.regress.weights import EMBEDDED_IDENTITY, load_weights

Recogniser = Callable[[Sequence[FaceInPhoto]], Tensor]
"""Says who is seen: a descriptor for each face, of one person where they are at most ``SAME_PERSON_DISTANCE`` apart."""


@cache
def load_identity() -> IdentityNet:
    """The identity network in the package, on the CPU, frozen; read once.

    Raises:
        AssetNotFoundError: the package lacks it.
    """
    return load_weights(EMBEDDED_IDENTITY, kind="identity").requires_grad_(False)


@torch.no_grad()
def identity_descriptors(faces: Sequence[FaceInPhoto], net: IdentityNet | None = None) -> Float[Tensor, "N 128"]:
    """Descriptors of faces, on the network's device: two of one person are less than 0.6 apart (Euclidean distance).

    A face is cut from its crop at the landmarks that the method saw, else at the detector's five points. It is looked
    at one by one, so that a descriptor does not depend on what other faces there are.

    Args:
        faces: of reconstructions, by any method.
        net: the network; the one in the package if None.

    Raises:
        AssetNotFoundError: the package lacks it.
    """
    net = load_identity() if net is None else net
    like = net.head.weight
    found = [net.infer(identity_chip(face).to(like))[0] for face in faces]
    return torch.stack(found) if found else like.new_zeros(0, DESCRIPTOR)


def identity_chip(face: FaceInPhoto) -> Float[Tensor, "1 3 150 150"]:
    """What the identity network sees of a face, sRGB-coded, 0..1."""
    aligned = face.aligned
    five = aligned.five_crop if face.belief is None else five_from_68(face.belief.points_px)
    return identity_chips(aligned.crop[None], five.to(aligned.crop)[None])
