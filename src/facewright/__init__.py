"""facewright: photographs in, 3D faces out."""

from importlib.metadata import version

__version__ = version("facewright")
