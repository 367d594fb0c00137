"""An analytical model: what keeps an accelerator of a given speed fed, from the measured costs of one image.

    decoding cores = images a second x seconds to decode one            (cache=none, and every first epoch)
    copying cores  = images a second x seconds to copy one              (cache=memory, steady-state epochs)
    bytes a second = images a second x bytes of one                     (from the cache)

These are the plain utilization law (Little, 1961; Denning and Buzen, 1978: utilization = throughput x service time); they
leave out everything else that the host does, so they are lower bounds. Standard library only.
"""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Costs:
    """Measured on one machine: core-seconds to decode one image, to copy one from the cache into a batch, and its bytes."""

    decode_s: float
    copy_s: float
    image_bytes: int

    def __post_init__(self) -> None:
        if min(self.decode_s, self.copy_s, self.image_bytes) <= 0:
            raise ValueError(f"`costs` must all be above 0. Received: {self}")


@dataclasses.dataclass(frozen=True)
class Feed:
    """What `images_per_s` takes: whole cores, of them decoding or copying only, and bytes a second from cache or disk."""

    images_per_s: float
    decoding_cores: int
    copying_cores: int
    bytes_per_s: float


def feed(images_per_s: float, costs: Costs) -> Feed:
    """The least that keeps `images_per_s` images a second coming.

    Raises:
        ValueError: a rate that is not above 0.
    """
    if images_per_s <= 0:
        raise ValueError(f"`images_per_s` must be above 0. Received: {images_per_s}")
    return Feed(
        images_per_s=images_per_s,
        # A core more for a rounding error would be wrong too: 0.1 + 0.2 is not 0.3.
        decoding_cores=math.ceil(round(images_per_s * costs.decode_s, 9)),
        copying_cores=math.ceil(round(images_per_s * costs.copy_s, 9)),
        bytes_per_s=images_per_s * costs.image_bytes,
    )
