"""How many of the processor's threads the libraries take: set here, for the whole process; the library never does."""

MOST_THREADS = 1024


def take_threads(count: int) -> None:
    """For torch and OpenCV, from now on.

    One is the default of commands: their tensors are small, so more threads mostly wait for one another.
    """
    import cv2  # here: whoever asks for help alone does not wait for them
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(count)
