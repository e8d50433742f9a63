"""Results become files: one format a file, one table (``formats.FORMATS``). Takes records, gives files.

Flips, units and colour codings of other programs live in their own adapter here and nowhere else.
"""
