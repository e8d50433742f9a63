"""mesh + camera + light -> picture, and back from pictures to textures."""

from facewright.render.antialiasing import MeshEdges, antialias, mesh_edges
from facewright.render.interpolation import interpolate
from facewright.render.lighting import SH_DC_OFFSET, sh_basis, sh_shading
from facewright.render.rasterizers import rasterize
from facewright.render.renderer import render, render_attributes, render_depth, render_normals

__all__ = [
    "SH_DC_OFFSET",
    "MeshEdges",
    "antialias",
    "interpolate",
    "mesh_edges",
    "rasterize",
    "render",
    "render_attributes",
    "render_depth",
    "render_normals",
    "sh_basis",
    "sh_shading",
]
