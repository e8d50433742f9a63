"""Errors that callers may want to catch. Each message says what was expected, what was received and the remedy."""

from pathlib import Path


class FacewrightError(Exception):
    """Base of all errors that a user can cause and mend."""


class SettingsError(FacewrightError):
    """A setting of a call is none that it may be; the message names it, what was expected and what was received."""


class PhotoError(FacewrightError):
    """A photo file cannot be read: missing, empty, truncated, not a picture, too large, or unsupported."""


class ClipError(PhotoError):
    """A clip cannot be read: missing, empty, damaged, cut short, no clip, without pictures, or too large."""


class NoFaceFoundError(FacewrightError):
    """The photo was read, and no face was found in it."""


class LandmarksError(FacewrightError):
    """A landmarks file is missing or malformed."""


class AssetNotFoundError(FacewrightError):
    """A file that the user must bring is not there; the message says which, where from, and the command."""


class FaceModelError(FacewrightError):
    """A face model file is malformed, or is not the model that it was taken for."""


class WeightsError(FacewrightError):
    """A weights file is malformed, unsafe, or does not fit the face model or crop."""


class CoefficientsError(FacewrightError):
    """A coefficients file is malformed or does not fit the face model."""


class ReconstructionError(FacewrightError):
    """A face was found but cannot be reconstructed (non-finite result, degenerate points)."""


class ExportError(FacewrightError):
    """An output file cannot be written.

    Attributes:
        written: files of the same set that stand all the same; none, but where a rename failed after others did not.
    """

    written: tuple[Path, ...] = ()


class MissingExtraError(FacewrightError, ImportError):
    """An optional dependency is not installed; the message holds the line that installs it."""


class BenchmarkError(FacewrightError):
    """A benchmark's folder lacks files, or a scan, label or prediction in it is malformed; the message names which."""


class RecognitionError(FacewrightError):
    """A file of people or of thresholds is damaged or of another network, or there are too few people to go by."""


class TrainingDataError(FacewrightError):
    """Training data is unfinished, damaged, of another kind than asked for, or does not belong to what is made."""


class TrainingError(FacewrightError):
    """A training run is set up so that it cannot run: settings that contradict each other, a folder that is taken."""
