"""A page in the browser that shows what was reconstructed: ``load_shown`` reads it, ``open_page`` shows it (viser)."""

from facewright.viewer.page import Page, open_page
from facewright.viewer.shown import Shown, load_shown

__all__ = ["Page", "Shown", "load_shown", "open_page"]
