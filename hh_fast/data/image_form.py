"""What every image of a data set is made into. No TensorFlow."""

import dataclasses

INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")


@dataclasses.dataclass(frozen=True)
class ImageForm:
    """The form of the decoded images, uint8 with values 0 to 255.

    `image_size` is (height, width) in pixels, `channels` 1 (grey), 3 (RGB) or 4 (RGBA). `interpolation` is one of
    `INTERPOLATIONS`, all without antialiasing. `aspect` says what becomes of an image of another aspect ratio: `stretch`,
    `crop` (the largest window in the middle that has it) or `pad` (with zeros, as much on either side).
    """

    image_size: tuple[int, int]
    channels: int = 3
    interpolation: str = "bilinear"
    aspect: str = "stretch"

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.image_size, self.channels)

    @property
    def num_bytes(self) -> int:
        """Bytes of one image: one a channel."""
        return self.image_size[0] * self.image_size[1] * self.channels
