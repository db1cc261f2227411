"""The plain TCP way, as tutorials do it: length, JPEG, length, JPEG, ... over one connection, no sound.

It is treated kindly where tutorials are not: TCP_NODELAY is set, and the camera hands out its newest picture, so frames
do not pile up in the program. They pile up in the socket, where ``sendall`` blocks only when the kernel's buffer is full.
"""

import contextlib
import os
import socket
import struct
import sys
import time
from typing import Any

import numpy as np

from tools.lab.devices import Camera, Ended, Screen
from tools.lab.plan import FPS, PORT, Plan
from udpconf.media.native import cv2

_LENGTH = struct.Struct(">I")
_CONNECT_PATIENCE_S = 30
# Megabytes may wait in the socket when the last picture has been taken. They come late, they are not lost: so long is
# waited for them, 2 MB at 1.6 Mbit/s. And so long for a connection that stands still by then; what it holds counts as
# skipped.
_DRAIN_PATIENCE_S = 10
# The receiver is told to end when the sender has.
_IDLE_S = 30


def send(plan: Plan, camera: Camera) -> dict[str, Any]:
    """Take pictures until all have been taken; returns the frames' bytes as [number, bytes]."""
    sizes: list[tuple[int, int]] = []
    options = [cv2.IMWRITE_JPEG_QUALITY, plan.quality]
    with _connect(os.environ["LAB_PEER"]) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        camera.begin()
        until = time.monotonic() + plan.frames / FPS + _DRAIN_PATIENCE_S
        with contextlib.suppress(TimeoutError):
            for _, image in camera:
                jpeg = cv2.imencode(".jpg", image, options)[1].tobytes()
                sizes.append((camera.taken[-1][0], len(jpeg) + _LENGTH.size))
                # After several losses in a row TCP waits for twice as long each time, a minute in the end.
                connection.settimeout(max(0.001, until - time.monotonic()))
                connection.sendall(_LENGTH.pack(len(jpeg)) + jpeg)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(_DRAIN_PATIENCE_S)
            connection.recv(1)  # the receiver closes when it has shown everything
    return {"sizes": sizes}


def receive(plan: Plan, screen: Screen) -> dict[str, Any]:
    """Show every picture that comes, at once."""
    try:
        with socket.create_server((os.environ["LAB_HERE"], PORT)) as listener:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb", buffering=1 << 16) as stream:
                while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
                    jpeg = stream.read(_LENGTH.unpack(head)[0])
                    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
                    if image is None:
                        break
                    screen.show(np.asarray(image, np.uint8), True, 1.0, len(jpeg))
            time.sleep(_IDLE_S)
    except Ended:
        pass
    return {}


def _connect(host: str) -> socket.socket:
    until = time.monotonic() + _CONNECT_PATIENCE_S
    while True:
        try:
            return socket.create_connection((host, PORT), timeout=_CONNECT_PATIENCE_S)
        except OSError as error:
            if time.monotonic() > until:
                sys.exit(f"lab: no TCP connection to {host}: {error}")
            time.sleep(0.05)
