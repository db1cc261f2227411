"""Every client's pictures as NumPy arrays; Ctrl-C ends it. Start it, then on another machine: udpconf send --camera 0 'URL'"""

from contextlib import suppress

import udpconf

with suppress(KeyboardInterrupt), udpconf.Server(port=5000) as server:
    print(f"Send with:  udpconf send --camera 0 '{server.url}'", flush=True)
    for frame in server.frames():
        height, width = frame.image.shape[:2]
        print(
            f"{frame.client.name} frame {frame.frame_id}: {width}x{height}, mean brightness {frame.image.mean():.1f}"
        )
