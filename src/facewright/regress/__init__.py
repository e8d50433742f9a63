"""Crop -> coefficients: R-Net, its backbones, weight files and the importers of other people's weights.

Takes sRGB crops of a known size, gives ``FaceCoefficients``. Knows a face model only by its layout and name.
"""
