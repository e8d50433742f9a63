"""The benchmarks, one file each. Each takes a data folder and something to measure, and returns an ``Evaluation``.

Official data are licensed to each user and never come with the package; the adapters read the official folder layouts,
say what is missing and where to obtain it, and measure what is there.
"""
