"""One face out of an album.

Several photos of one person become one identity, by how sure the network is of each coefficient in each photo, and one
texture of all that they show. Photos of others, copies and failures are left out and named. Here the album is drawn:
five pictures of somebody who does not exist.
"""

from pathlib import Path

import tyro
from PIL import Image

import facewright
from facewright.pipeline.album import AlbumOptions, load_weighing, reconstruct_albums
from facewright.synthetic import open_studio, photograph
from facewright.synthetic.albums import plan_album


def main(photos: Path | None = None, out: Path = Path("out/examples/album"), count: int = 5, size: int = 320) -> None:
    """Reconstruct an album.

    Args:
        photos: folder of pictures; drawn if None.
        out: folder for the results.
        count: pictures to draw.
        size: of drawn pictures, px.
    """
    if photos is None:
        photos, studio = out / "photos", open_studio()
        for k, plan in enumerate(plan_album(studio, 901, count, size=size)):
            photos.mkdir(parents=True, exist_ok=True)
            pixels = photograph(studio, plan).photo.pixels
            Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(photos / f"{k}.png")
    flow = facewright.load_reconstructor()
    weighing = load_weighing(flow.estimator)
    options = AlbumOptions(formats=("glb",), texture_px=512)
    for report in reconstruct_albums([photos], out, flow, weighing, options=options):
        for verdict in report.verdicts:
            share = "" if verdict.weight is None else f"{verdict.weight:.0%}"
            print(f"{Path(verdict.photo).name}: {verdict.status} {share} {verdict.reason}")
        print(f"{report.people} of several photos, weighed by {weighing.name}: {', '.join(report.outputs)}")


if __name__ == "__main__":
    tyro.cli(main)
