"""mesh + camera + light -> picture, and back from pictures to textures."""

from facewright.render.antialiasing import MeshEdges, antialias, mesh_edges
from facewright.render.completion import complete_texture, guess_texture, mirror_texels
from facewright.render.interpolation import interpolate
from facewright.render.lighting import SH_DC_OFFSET, sh_basis, sh_shading
from facewright.render.rasterizers import rasterize
from facewright.render.renderer import render, render_attributes, render_depth, render_normals
from facewright.render.sampling import sample_texture
from facewright.render.texture import bake_texture, bake_vertex_attribute
from facewright.render.visibility import vertex_visibility

__all__ = [
    "SH_DC_OFFSET",
    "MeshEdges",
    "antialias",
    "bake_texture",
    "bake_vertex_attribute",
    "complete_texture",
    "guess_texture",
    "interpolate",
    "mesh_edges",
    "mirror_texels",
    "rasterize",
    "render",
    "render_attributes",
    "render_depth",
    "render_normals",
    "sample_texture",
    "sh_basis",
    "sh_shading",
    "vertex_visibility",
]
