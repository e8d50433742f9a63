"""facewright: photographs in, 3D faces out."""
