"""The flow: photo -> detect -> align -> fit or regress -> decode -> render -> export.

``flow`` is the page to read first; ``outputs`` turns one reconstruction into files; ``batch`` runs many photos,
keeps going when some fail, and reports.
"""
