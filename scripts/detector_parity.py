r"""Run the original models by a TFLite runtime and store what they say: tests/detect/parity.npz.

    pip install ai-edge-litert==2.3.0        # this script's only need beyond the package; the tests need the file alone
    python scripts/detector_parity.py --mediapipe mediapipe-0.10.14-*.whl --out tests/detect/parity.npz

Inputs: a public-domain portrait, the same turned by a quarter, and smooth noise; 192 x 192, the short-range network
sees their middle 128 x 128. Boxes are stored for every 13th anchor, all else whole.
"""

import argparse
import zipfile
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image

from facewright.assets import embedded_path

MODELS = {
    "short": "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    "full": "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite",
    "mesh": "mediapipe/modules/face_landmark/face_landmark.tflite",
}
ANCHOR_STEP = 13


def run(model: bytes, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Outputs of a model, the one with the most numbers first."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None].astype(np.float32))
    interpreter.invoke()
    outputs = [interpreter.get_tensor(detail["index"])[0] for detail in interpreter.get_output_details()]
    return sorted(outputs, key=lambda output: -output.size)


def stored_images() -> NDArray[np.uint8]:
    """A portrait and noise."""
    portrait = Image.open(embedded_path("photos/grace_hopper.jpg")).convert("RGB")
    face = portrait.crop((120, 20, 440, 340)).resize((192, 192), Image.Resampling.LANCZOS)
    blocks = np.random.default_rng(468).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    noise = Image.fromarray(blocks).resize((192, 192), Image.Resampling.BICUBIC)
    return np.stack([np.asarray(face), np.asarray(noise)])


def main() -> None:
    """Read the wheel, write the outputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mediapipe", type=Path, required=True, help="the wheel mediapipe-0.10.14-*.whl")
    parser.add_argument("--out", type=Path, required=True, help="parity.npz")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.mediapipe) as wheel:
        models = {name: wheel.read(path) for name, path in MODELS.items()}
    images = stored_images()
    inputs = np.stack([images[0], np.rot90(images[0]), images[1]]).astype(np.float32) / 255
    outputs: dict[str, list[NDArray[np.float32]]] = {}
    for image in inputs:
        boxes, scores = run(models["short"], image[32:160, 32:160] * 2 - 1)
        outputs.setdefault("short_boxes", []).append(boxes[::ANCHOR_STEP])
        outputs.setdefault("short_scores", []).append(scores[:, 0])
        boxes, scores = run(models["full"], image * 2 - 1)
        outputs.setdefault("full_boxes", []).append(boxes[::ANCHOR_STEP])
        outputs.setdefault("full_scores", []).append(scores[:, 0])
        points, presence = run(models["mesh"], image)
        outputs.setdefault("mesh_points", []).append(points.reshape(468, 3))
        outputs.setdefault("mesh_presence", []).append(presence.reshape(()))
    np.savez_compressed(arguments.out, images=images, **{name: np.stack(rows) for name, rows in outputs.items()})
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
