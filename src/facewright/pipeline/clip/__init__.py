"""Clips: everybody in a film, each with one shape and a steady motion."""

from facewright.pipeline.clip.flow import ClipOptions, ClipReport, reconstruct_clip

__all__ = ["ClipOptions", "ClipReport", "reconstruct_clip"]
