"""``facewright evaluate``: measure a method like the benchmarks do; compare two results."""
