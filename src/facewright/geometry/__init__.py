"""Shared maths under all stages: rotations, frames, the camera, similarity alignment, mesh normals.

Functions only; device and dtype come from the inputs. Nothing here knows of files, networks or face models.
"""
