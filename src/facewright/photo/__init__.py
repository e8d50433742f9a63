"""The front door for pixels: a picture file or array in, an upright sRGB ``Photo`` out."""

from facewright.photo.door import MAX_PIXELS, MAX_SIDE, ByteStream, photo_from_array, read_photo

__all__ = ["MAX_PIXELS", "MAX_SIDE", "ByteStream", "photo_from_array", "read_photo"]
