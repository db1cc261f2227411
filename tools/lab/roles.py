"""The two processes of a run, with udpconf's Python API in them or the plain TCP way (baseline_tcp.py)."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Never

from tools.lab import baseline_tcp, chirp
from tools.lab.devices import Camera, Ended, Screen, now_us
from tools.lab.plan import DRAIN_S, PASSPHRASE, PORT, Plan, load

# From the process's first breath to the first picture, and what the end may take.
_PATIENCE_S = 60


def run(role: str, plan_path: str) -> Never:
    """``send`` or ``receive``, told on the command line."""
    plan = load(Path(plan_path))
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # the lab says what there is to say
    watchdog = threading.Timer(plan.seconds + _PATIENCE_S, give_up, (role,))
    watchdog.daemon = True
    watchdog.start()
    if role == "send":
        camera = Camera(plan)
        send = send_udpconf if plan.program == "udpconf" else baseline_tcp.send
        counters = send(plan, camera)
        sent = {"start_us": camera.start_us, "taken": camera.taken, "counters": counters}
        (Path(plan.folder) / "send.json").write_text(json.dumps(sent))
    else:
        signal.signal(signal.SIGTERM, end)
        screen = Screen(plan)
        receive = receive_udpconf if plan.program == "udpconf" else baseline_tcp.receive
        screen.save(receive(plan, screen))
    sys.stdout.flush()
    # No goodbye: the server is asked for its numbers only afterwards, and would have forgotten them.
    os._exit(0)


def give_up(role: str) -> None:
    print(f"lab: the program to {role} has not come to an end.", file=sys.stderr, flush=True)
    os._exit(1)


def end(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Ended


def send_udpconf(plan: Plan, camera: Camera) -> dict[str, Any]:
    import udpconf

    try:
        sender = udpconf.Sender(
            os.environ["LAB_PEER"],
            PORT,
            passphrase=PASSPHRASE,
            name="lab",
            audio=plan.sound,
            max_bitrate_kbps=plan.ceiling_kbps,
            quality=plan.quality,
            min_quality=min(plan.quality, 5),
            latency_ms=plan.latency_ms,
            recovery=plan.recovery,
            connect_timeout=30,
        )
        camera.begin()
        if plan.sound:
            threading.Thread(target=speak, args=(sender, camera.start_us), daemon=True).start()
        for capture_us, image in camera:
            sender.send_video(image, capture_us)
    except udpconf.UdpconfError as error:
        sys.exit(f"lab: the sender gave up: {error}")
    time.sleep(DRAIN_S)
    stats = sender.stats()
    return {
        "frames_skipped_ceiling": stats.frames_skipped_ceiling,
        "frames_skipped_path": stats.frames_skipped_path,
        "frames_dropped": stats.frames_dropped_away + stats.frames_dropped_pacer,
        "reconnects": stats.reconnects,
        "datagram_bytes": stats.datagram_bytes,
    }


def speak(sender: Any, start_us: int) -> None:
    """10 ms of sound every 10 ms, as a microphone gives it, until the process ends."""
    sound = chirp.two_seconds()
    block = 0
    while True:
        first_us = start_us + block * 10_000
        time.sleep(max(0, first_us + 10_000 - now_us()) / 1e6)
        place = block * chirp.BLOCK % len(sound)
        try:
            sender.send_audio(sound[place : place + chirp.BLOCK], first_us)
        except Exception as error:  # noqa: BLE001 - the main thread gets the same one, or has ended
            print(f"lab: the sound has ended: {error}", file=sys.stderr)
            return
        block += 1


def receive_udpconf(plan: Plan, screen: Screen) -> dict[str, Any]:
    import udpconf

    counters: dict[str, Any] = {}
    with udpconf.Server("0.0.0.0", PORT, passphrase=PASSPHRASE) as server:

        def listen() -> None:
            for block in server.audio():
                screen.hear(block.pcm)

        if plan.sound:
            threading.Thread(target=listen, daemon=True).start()
        try:
            for frame in server.frames():
                screen.show(frame.image, frame.complete, frame.fresh_area, frame.coded_size)
        except Ended:
            pass
        for stats in server.stats().values():
            counters = {
                "audio_frames_received": stats.audio_frames_received,
                "audio_frames_concealed": stats.audio_frames_concealed,
                "loss_share": stats.loss_share,
                "shards_late": stats.shards_late,
                "frames_replaced": stats.frames_replaced,
            }
    return counters
