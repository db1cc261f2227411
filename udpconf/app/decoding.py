"""Pictures are decoded by the thread that asks for them: once however many ask, and never when nobody does.

A pool of decode threads stood here first. Handing each frame over twice more cost 0.1 to 0.2 ms of processor time, made
the slowest of a hundred frames on a busy 2-core machine 10 to 20 ms later, and frames were decoded that the application
then had no time for. Whoever wants the pictures of many clients decoded side by side iterates over each in its own
thread; the decoder lets go of the interpreter.
"""

import threading

from udpconf.frames import ReceivedFrame
from udpconf.media.decode import DecodedPicture, FrameDecoder


class StreamDecoder:
    """One client's decoder, shared by all who watch the client. Any thread may call it."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self._decoding = threading.Lock()
        self._last_id: int | None = None
        self._last_fresh_area = 1.0
        self.frames_decoded = 0

    def decode(self, received: ReceivedFrame) -> DecodedPicture:
        """The picture of a frame, the caller's own."""
        with self._decoding:
            if received.frame_id == self._last_id:
                return DecodedPicture(self._decoder.again(), self._last_fresh_area)
            picture = self._decoder.decode(received.encoded)
            self._last_id, self._last_fresh_area = received.frame_id, picture.fresh_area
            self.frames_decoded += 1
            return picture
