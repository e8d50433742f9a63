"""A photo and the points of one face to the networks' crop, the way back, and the camera that draws into the photo."""

from facewright.align.crop import CROP_RESCALE, Turn, align_face
from facewright.geometry.five_points import deep3d_template, five_from_68

__all__ = ["CROP_RESCALE", "Turn", "align_face", "deep3d_template", "five_from_68"]
