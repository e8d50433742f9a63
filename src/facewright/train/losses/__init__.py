"""Terms of hybrid-level weak supervision: one pure function a file, each a scalar; weights are in ``presets``.

Pictures are sRGB-coded, 0..1, and points in pixels of the crop, whatever the face model's albedo space is.
"""
