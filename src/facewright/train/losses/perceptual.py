"""Perception-level loss: equation 4 of Deng et al. 2019, for any face recognition network."""

from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

EmbeddingMetric = Literal["cosine", "euclidean"]


@runtime_checkable
class FaceEmbedder(Protocol):
    """A frozen face recognition network, as the loss sees it.

    Attributes:
        metric: how the network's own training compared embeddings: ``cosine`` (FaceNet, ArcFace) or ``euclidean``
            (dlib, whose embeddings are not of unit length).
    """

    @property
    def metric(self) -> EmbeddingMetric:
        """``cosine`` or ``euclidean``."""
        ...

    def __call__(
        self, crop_srgb: Float[Tensor, "B 3 H W"], five_px: Float[Tensor, "B 5 2"] | None
    ) -> Float[Tensor, "B E"]:
        """Embed faces, differentiably in the pixels; the network cuts its own window by the five points.

        Args:
            crop_srgb: sRGB-coded, 0..1.
            five_px: right eye, left eye, nose tip, right and left mouth corner, in pixels of the crop; None: the
                network sees the whole crop.
        """
        ...


def embedding_distance(
    first: Float[Tensor, "B E"], second: Float[Tensor, "B E"], metric: EmbeddingMetric
) -> Float[Tensor, " B"]:
    """How different two faces are: ``1 - cosine`` (0..2, blind to lengths) or the Euclidean distance.

    Finite with finite gradients for equal and for zero embeddings.
    """
    if metric == "euclidean":
        return torch.linalg.vector_norm(first - second, dim=-1)
    return 1.0 - torch.nn.functional.cosine_similarity(first, second, dim=-1)


def perceptual_loss(
    embedder: FaceEmbedder,
    photo_srgb: Float[Tensor, "B 3 H W"],
    photo_five_px: Float[Tensor, "B 5 2"],
    rendered_srgb: Float[Tensor, "B 3 H W"],
    rendered_five_px: Float[Tensor, "B 5 2"],
    *,
    whole: bool = False,
) -> Float[Tensor, ""]:
    """Mean distance of embeddings between photos and renderings.

    Gradients reach the rendering's pixels only: neither the photo nor the windows of either.

    Args:
        embedder: the recognition network.
        photo_srgb: sRGB-coded, 0..1.
        photo_five_px: the photo's five points.
        rendered_srgb: sRGB-coded; clamped to 0..1 here, as networks have never seen other values.
        rendered_five_px: the rendering's own five points, predicted.
        whole: show the network whole crops, the rendering on black, as the TensorFlow program does.
    """
    drawn = rendered_srgb.clamp(0.0, 1.0)
    with torch.no_grad():
        wanted = embedder(photo_srgb, None if whole else photo_five_px)
    received = embedder(drawn, None if whole else rendered_five_px.detach())
    return embedding_distance(received, wanted, embedder.metric).mean()
