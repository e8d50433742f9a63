"""The detector's weights: three networks in one module, and the embedded file that fills them."""

import safetensors
import torch
from safetensors.torch import load_file
from torch import nn

from facewright.assets import embedded_path
from facewright.detect.networks import BlazeFaceFull, BlazeFaceShort, FaceMeshNet
from facewright.errors import WeightsError

DETECTOR_FILE = "detector.safetensors"


class FaceDetector(nn.Module):
    """BlazeFace short and full range and the 468-point mesh; ``detect_faces`` drives them."""

    def __init__(self) -> None:
        super().__init__()
        self.short = BlazeFaceShort()
        self.full = BlazeFaceFull()
        self.mesh = FaceMeshNet()


def load_face_detector() -> FaceDetector:
    """The detector with the embedded weights (mediapipe 0.10.14, Apache-2.0), float32, in evaluation mode.

    Raises:
        AssetNotFoundError: the installation is incomplete.
        WeightsError: the embedded file is damaged.
    """
    path = embedded_path(DETECTOR_FILE)
    detector = FaceDetector()
    try:
        weights = {name: value.float() for name, value in load_file(path).items()}
        detector.load_state_dict(weights)
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise WeightsError(f"expected the weights of FaceDetector in {path}: {error}; reinstall facewright") from error
    # depthwise convolutions run up to twice as fast on CPUs where the channels lie together
    detector.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing from torch's stubs
    return detector.eval().requires_grad_(False)
