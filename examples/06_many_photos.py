"""Many photos, and what to do when some fail.

Load the parts of the flow once and give them every photo. A photo without a face, or a file that is no photo, is
named and costs the others nothing; `report.json` says what became of each. The fit is told to use points alone, which
is quick and enough for pose and landmarks.
"""

from pathlib import Path

import tyro

import facewright
from facewright.assets import embedded_path
from facewright.pipeline.batch import reconstruct_files
from facewright.pipeline.outputs import OutputOptions

PORTRAITS = embedded_path("photos/astronaut.jpg").parent


def main(photos: Path = PORTRAITS, out: Path = Path("out/examples/many")) -> None:
    """Reconstruct a folder of photos.

    Args:
        photos: folder of pictures.
        out: folder for the results.
    """
    flow = facewright.load_reconstructor(refine=0)  # the network alone: quick
    reports = reconstruct_files([photos], out, flow, faces="largest", options=OutputOptions(formats=("json", "ply")))
    for report in reports:
        print(f"{Path(report.input).name}: {report.status}, {report.faces} face(s) {report.error or ''}")


if __name__ == "__main__":
    tyro.cli(main)
