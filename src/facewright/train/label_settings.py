"""How people are labelled: options of ``facewright train labels``, known without loading what it needs."""

from dataclasses import dataclass

from facewright.bounds import bounded
from facewright.regress.identity import SAME_PERSON_DISTANCE
from facewright.train.samples import STORED_CROP_SIZE

OUTLIER = "another person"
"""Reason why a photo is left out."""


@dataclass(frozen=True)
class LabelSettings:
    """How people are labelled.

    Attributes:
        method: of the fits of single photos: ``fit``, or another that finds coefficients.
        face_model: whose codes: ``open`` or a file.
        crop_size: side of the stored crops, px.
        same_person: distance of identity descriptors from which a photo is taken for somebody else's, where half of the
            others lie that far.
        least_photos: that a person needs, once outliers are left out.
    """

    method: str = "fit"
    face_model: str = "open"
    crop_size: int = bounded(STORED_CROP_SIZE, least=32, most=2048)
    same_person: float = bounded(SAME_PERSON_DISTANCE, above=0, most=2)
    least_photos: int = bounded(1, least=1)
