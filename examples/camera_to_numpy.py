"""Every client's pictures as NumPy arrays. Start it, then on another machine: udpconf send --camera 0 URL"""

import udpconf

with udpconf.Server(port=5000) as server:
    print("Send with:  udpconf send --camera 0", server.url)
    for frame in server.frames():
        height, width = frame.image.shape[:2]
        print(
            f"{frame.client.name} frame {frame.frame_id}: {width}x{height}, mean brightness {frame.image.mean():.1f}"
        )
