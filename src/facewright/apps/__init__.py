"""Rooms around the flow: what people do with reconstructed faces."""
