"""How near a picture is to its original, on luma: PSNR and SSIM."""

import numpy as np
from numpy.typing import NDArray

from udpconf.media.native import cv2

Grey = NDArray[np.uint8]

# Of identical pictures, which have no noise at all: what 8 bits can tell apart, and a number that JSON can hold.
PSNR_MAX_DB = 60.0
# Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment" (2004): 11x11 Gaussian window, sigma 1.5, these constants.
_WINDOW = (11, 11)
_SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr_db(shown: Grey, original: Grey) -> float:
    """Peak signal to noise ratio of two uint8[h, w], at most 60 dB."""
    error = float(np.mean((shown.astype(np.float32) - original) ** 2))
    return min(PSNR_MAX_DB, 10 * float(np.log10(255**2 / error))) if error > 0 else PSNR_MAX_DB


def compressed(image: Grey, jpeg_quality: int) -> Grey:
    """What is left of a uint8[h, w] after JPEG at this quality, 1..100."""
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


def ssim(shown: Grey, original: Grey) -> float:
    """Mean structural similarity of two uint8[h, w]; 1 is identical."""

    def blurred(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(image, _WINDOW, _SIGMA), np.float32)

    x, y = shown.astype(np.float32), original.astype(np.float32)
    mean_x, mean_y = blurred(x), blurred(y)
    variance_x = blurred(x * x) - mean_x * mean_x
    variance_y = blurred(y * y) - mean_y * mean_y
    covariance = blurred(x * y) - mean_x * mean_y
    similarity = ((2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)) / (
        (mean_x * mean_x + mean_y * mean_y + _C1) * (variance_x + variance_y + _C2)
    )
    return float(similarity.mean())
