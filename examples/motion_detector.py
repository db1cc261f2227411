"""A green box around whatever moves, for every client; q or Ctrl-C ends it. Start it, then: udpconf send --camera 0 'URL'"""

from collections import defaultdict
from contextlib import suppress

import cv2

import udpconf

background: dict[str, cv2.BackgroundSubtractorMOG2] = defaultdict(
    lambda: cv2.createBackgroundSubtractorMOG2(history=100)
)
with suppress(KeyboardInterrupt), udpconf.Server(port=5000) as server:
    print(f"Send with:  udpconf send --camera 0 '{server.url}'", flush=True)
    for frame in server.frames():
        moving = cv2.medianBlur(background[frame.client.id].apply(frame.image), 5)
        for contour in cv2.findContours(moving, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]:
            if cv2.contourArea(contour) > 500:
                cv2.rectangle(frame.image, cv2.boundingRect(contour), (0, 255, 0), 2)
        cv2.imshow(frame.client.name, frame.image)
        if cv2.waitKey(1) == ord("q"):
            break
