"""Results become files: one format a file, one table (``meshes.MESH_WRITERS``). Takes records, gives files.

Flips, units and colour codings of other programs live in their own adapter here and nowhere else.
"""
