"""Photos through the flow together, whatever nobody foresaw: that stays the fault of the photo it is of."""

import logging
from collections.abc import Iterator, Sequence

from facewright.pipeline.flow import FacesChoice, Failure, Reconstructor
from facewright.pipeline.reconstruction import Reconstruction
from facewright.records import Photo

Found = list[Reconstruction | Failure]

log = logging.getLogger(__name__)


def found_in_each(
    reconstructor: Reconstructor, photos: Sequence[Photo], *, faces: FacesChoice
) -> Iterator[Found | Exception]:
    """What is in each of several photos, in their order; or what the flow raised on one alone.

    Args:
        reconstructor: the loaded flow.
        photos: that go through it together.
        faces: all faces or the largest of each.
    """
    try:
        results = reconstructor.faces_in_batch(photos, faces=faces)
    except Exception as error:
        if len(photos) == 1:
            log.exception("unexpected failure")
            yield error
            return
        log.warning("a batch fails (%s); its photos are tried one by one", type(error).__name__)
        for photo in photos:
            yield from found_in_each(reconstructor, [photo], faces=faces)
        return
    for number in range(len(photos)):
        yield [result for result in results if result.input == number]
