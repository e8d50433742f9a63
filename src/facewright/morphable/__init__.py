"""Coefficients to mesh: linear 3D morphable models, their one container format, readers of others' formats."""
