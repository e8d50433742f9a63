"""Readers of other people's face model files. They check everything, decide nothing silently, and report."""
