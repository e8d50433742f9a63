"""Photos by the million: from wherever they lie to Parquet, over kills and restarts, in memory that does not grow.

``sources`` names photos, ``photo_work`` is what processes do with them, ``engines`` hand them out, ``run`` keeps count.
"""
