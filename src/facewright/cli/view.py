"""``facewright view``: what was reconstructed, on a page in the browser."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from facewright.bounds import bounded
from facewright.cli.console import DONE, CommandError, say
from facewright.pipeline.flow import load_reconstructor
from facewright.viewer import load_shown, open_page


@dataclass(frozen=True)
class ViewFaces:
    """Show faces on a page in the browser: turn, move, light and save them. Ends with Ctrl-C."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders that ``reconstruct`` wrote (of photos, albums, clips), results in them (.json, .npz), or photos."""
    port: int = bounded(8080, most=65_535)
    """Where the page is served, on this machine alone; 0: any that is free."""
    face_model: str = "open"
    """The model that results belong to, and that photos are reconstructed with."""
    method: str = "auto"
    """How photos are reconstructed; as of ``reconstruct``."""
    weights: str | None = None
    """Weights of the method's network; as of ``reconstruct``."""

    def run(self) -> int:
        """Serve the page until it is interrupted."""
        if not self.paths:
            raise CommandError("expected at least one path, received none: facewright view out")
        shown = load_shown(
            self.paths,
            face_model=self.face_model,
            flow=lambda: load_reconstructor(face_model=self.face_model, method=self.method, weights=self.weights),
        )
        page = open_page(shown, port=self.port)
        try:
            say(f"{len(shown)} to see at {page.url}")
            wait()
        finally:
            page.close()
        return DONE


def wait() -> None:
    """Until the program is interrupted."""
    threading.Event().wait()
