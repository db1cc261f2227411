"""What a picture is inside this package, and what an encoder refuses to take."""

import numpy as np
from numpy.typing import NDArray

from udpconf.errors import ConfigError, LocalProtocolError
from udpconf.limits import PICTURE_MAX_HEIGHT, PICTURE_MAX_WIDTH

# uint8[height, width, 3] in OpenCV's order blue, green, red, or uint8[height, width] grey.
Picture = NDArray[np.uint8]


def checked_picture(image: Picture) -> Picture:
    """The same picture, contiguous, or an error that says what is wrong with it.

    Args:
        image: uint8[h, w, 3] BGR or uint8[h, w] grey with any strides; uint8[h, w, 1] counts as grey.

    Raises:
        LocalProtocolError: it is no such array.
        ConfigError: it is larger than a frame may be.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise LocalProtocolError(f"A picture must be a NumPy array of uint8, this one is {kind}.")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if (image.ndim != 2 and (image.ndim != 3 or image.shape[2] != 3)) or 0 in image.shape:
        raise LocalProtocolError(
            f"A picture must have the shape [height, width, 3] or [height, width], this one has {list(image.shape)}."
        )
    height, width = image.shape[:2]
    if width > PICTURE_MAX_WIDTH or height > PICTURE_MAX_HEIGHT:
        raise ConfigError(
            f"The picture has {width}x{height} pixels, but a frame can have {PICTURE_MAX_WIDTH}x{PICTURE_MAX_HEIGHT} "
            "at most. Make it smaller before sending, for example with --width or cv2.resize."
        )
    return np.ascontiguousarray(image)
