"""Measures latency, loss and CPU of a stream between two network namespaces, beside imagezmq doing the same.

    sudo .venv/bin/python tools/measure.py --delay 1ms --seconds 20 --runs 3
    sudo .venv/bin/python tools/measure.py --delay 25ms --loss 2% --runs 5 --no-imagezmq

Both programs send the same pictures (a real clip, 640x360, 30 frames/s, encoded as JPEG while sending) and decode them
at the other end. Every picture's capture time is written down by the sender and its end by the receiver, on the one
CLOCK_MONOTONIC of the machine, so no clock offset enters. CPU is user + system time of each process over the stream,
start-up excluded. Each run prints one JSON line; the last one holds the medians over the runs.
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udpconf.media.native import av, cv2

HERE = Path(__file__).resolve().parent
PORT = 5000
PASSPHRASE = "measure the same thing twice"
FPS = 30
WARM_UP_FRAMES = 45  # connecting, first decode, cold caches: 1.5 s that are not measured


def clip_pictures(path: Path) -> list[NDArray[np.uint8]]:
    """All pictures of the clip as uint8[360, 640, 3]."""
    with av.open(str(path)) as container:
        return [
            np.ascontiguousarray(
                cv2.resize(frame.to_ndarray(format="bgr24"), (640, 360), interpolation=cv2.INTER_AREA)
            )
            for frame in container.decode(video=0)
        ]


def quality_for(pictures: list[NDArray[np.uint8]], kbps: int) -> int:
    """The JPEG quality at which the clip has this bitrate at 30 frames/s."""

    def size(quality: int) -> float:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, 40]
        return sum(len(cv2.imencode(".jpg", p, options)[1]) for p in pictures[::8]) / len(pictures[::8])

    wanted = kbps * 1000 / 8 / FPS
    return min(range(5, 95), key=lambda quality: abs(size(quality) - wanted)) if wanted else 50


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def now_us() -> int:
    return time.monotonic_ns() // 1000


class Paced:
    """Gives the pictures of the clip in a loop, 30 a second."""

    def __init__(self, pictures: list[NDArray[np.uint8]], seconds: float) -> None:
        self.pictures = pictures
        self.count = WARM_UP_FRAMES + int(seconds * FPS)
        self.captured: dict[int, int] = {}
        self.cpu_from = 0.0
        self.kept: Any = None

    def __iter__(self) -> Any:
        start = time.monotonic() + 0.1
        for number in range(self.count):
            time.sleep(max(0.0, start + number / FPS - time.monotonic()))
            if number == WARM_UP_FRAMES:
                self.cpu_from = cpu_seconds()
            self.captured[number] = now_us()
            yield number, self.pictures[number % len(self.pictures)]

    def report(self, out: Path) -> None:
        cpu = cpu_seconds() - self.cpu_from
        out.write_text(json.dumps({"cpu_s": cpu, "captured": self.captured}))


def send_udpconf(args: argparse.Namespace, paced: Paced) -> None:
    import udpconf

    with udpconf.Sender(
        os.environ["LAB_PEER"],
        PORT,
        passphrase=PASSPHRASE,
        name="measure",
        audio=False,
        max_bitrate_kbps=args.ceiling_kbps,
        quality=args.quality,
        min_quality=min(args.quality, 5),
        latency_ms=args.latency_ms,
    ) as sender:
        for _, image in paced:
            sender.send_video(image, capture_us=now_us())
        cpu = cpu_seconds()
        time.sleep(1)
        paced.cpu_from += cpu_seconds() - cpu  # the pause is not part of the stream
        print(json.dumps({"sender": {"bytes_sent": sender.stats().bytes_sent}}), file=sys.stderr)


def receive_udpconf(args: argparse.Namespace) -> None:
    import udpconf

    rows = []
    cpu_from = 0.0
    with udpconf.Server("0.0.0.0", PORT, passphrase=PASSPHRASE) as server:
        for frame in server.frames(timeout=60):
            rows.append((frame.frame_id, now_us(), frame.complete, frame.fresh_area, frame.coded_size))
            if not cpu_from and frame.frame_id >= WARM_UP_FRAMES:
                cpu_from = cpu_seconds()
            if frame.frame_id >= args.count - 1:
                break
        cpu = cpu_seconds() - cpu_from
        stats = [
            {"loss_share": s.loss_share, "skipped": s.frames_skipped, "late": s.shards_late}
            for s in server.stats().values()
        ]
    args.out.write_text(json.dumps({"cpu_s": cpu, "rows": rows, "stats": stats}))


def send_imagezmq(args: argparse.Namespace, paced: Paced) -> None:
    import imagezmq

    sender = imagezmq.ImageSender(connect_to=f"tcp://{os.environ['LAB_PEER']}:{PORT + 1}")
    for number, image in paced:
        options = [cv2.IMWRITE_JPEG_QUALITY, args.quality]
        sender.send_jpg(str(number), cv2.imencode(".jpg", image, options)[1])
    paced.kept = sender  # its clean-up waits for a receiver that has gone


def receive_imagezmq(args: argparse.Namespace) -> None:
    import imagezmq

    rows: list[tuple[int, int, bool, float, int]] = []
    hub = imagezmq.ImageHub(open_port=f"tcp://*:{PORT + 1}")
    cpu_from = 0.0
    while not rows or rows[-1][0] < args.count - 1:
        text, jpeg = hub.recv_jpg()
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        hub.send_reply(b"OK")
        assert image is not None
        rows.append((int(text), now_us(), True, 1.0, len(jpeg)))
        if not cpu_from and rows[-1][0] >= WARM_UP_FRAMES:
            cpu_from = cpu_seconds()
    args.out.write_text(json.dumps({"cpu_s": cpu_seconds() - cpu_from, "rows": rows}))


def run_lab(args: argparse.Namespace, program: str, folder: Path, seed: int) -> dict[str, Any]:
    """One stream between two namespaces; returns its figures."""
    outs = {role: folder / f"{program}-{role}.json" for role in ("receive", "send")}
    for path in outs.values():
        path.unlink(missing_ok=True)

    def role(name: str) -> list[str]:
        command = [sys.executable, str(Path(__file__).resolve()), "--role", f"{name}-{program}"]
        command += ["--out", str(outs[name]), "--seconds", str(args.seconds), "--quality", str(args.quality)]
        command += ["--clip", str(args.clip), "--ceiling-kbps", str(args.ceiling_kbps)]
        return command + (["--latency-ms", str(args.latency_ms)] if args.latency_ms else [])

    conditions = ["--delay", args.delay, "--loss", args.loss, "--seed", str(seed)]
    conditions += ["--burst", args.burst] if args.burst else []
    conditions += ["--jitter", args.jitter] if args.jitter else []
    lab = [str(HERE.parent / "netem" / "lab-net"), *conditions, "--", *role("receive"), "--", *role("send")]
    subprocess.run(lab, check=True, timeout=args.seconds + 90)
    receiver = json.loads(outs["receive"].read_text())
    sender = json.loads(outs["send"].read_text())
    return figures(program, receiver, sender, args)


def figures(
    program: str, receiver: dict[str, Any], sender: dict[str, Any], args: argparse.Namespace
) -> dict[str, Any]:
    captured = {int(number): at for number, at in sender["captured"].items()}
    rows = [row for row in receiver["rows"] if row[0] >= WARM_UP_FRAMES]
    latencies = sorted((row[1] - captured[row[0]]) / 1000 for row in rows)
    sent = len(captured) - WARM_UP_FRAMES

    def quantile(share: float) -> float:
        at: float = latencies[min(len(latencies) - 1, int(share * len(latencies)))]
        return round(at, 2)

    seconds = sent / FPS
    return {
        "program": program,
        "frames_sent": sent,
        "frames_shown": len(rows),
        "with_holes": sum(not row[2] for row in rows),
        "fresh_area": round(sum(row[3] for row in rows) / sent, 4),
        "media_mbps": round(sum(row[4] for row in rows) * 8 / seconds / 1e6, 2),
        "p50_ms": quantile(0.5),
        "p95_ms": quantile(0.95),
        "p99_ms": quantile(0.99),
        "max_ms": round(latencies[-1], 2),
        "sender_cpu_percent": round(100 * sender["cpu_s"] / seconds, 2),
        "receiver_cpu_percent": round(100 * receiver["cpu_s"] / seconds, 2),
    }


def orchestrate(args: argparse.Namespace) -> None:
    if not args.clip.is_file():
        sys.exit(f"measure: there is no film at {args.clip}; tools/get_media.py fetches the usual one.")
    pictures = clip_pictures(args.clip)
    args.quality = args.quality or quality_for(pictures, args.kbps)
    programs = ["udpconf"] if args.no_imagezmq else ["udpconf", "imagezmq"]
    results: dict[str, list[dict[str, Any]]] = {program: [] for program in programs}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(args.runs):
            for program in programs:
                result = run_lab(args, program, Path(folder), args.seed + run)
                print(json.dumps({"run": run, "quality": args.quality, **result}), flush=True)
                results[program].append(result)
    medians = {
        program: {key: statistics.median(run[key] for run in runs) for key in runs[0] if key != "program"}
        for program, runs in results.items()
    }
    if "imagezmq" in medians:
        for side in ("sender", "receiver"):
            key = f"{side}_cpu_percent"
            ratios = [u[key] / z[key] for u, z in zip(results["udpconf"], results["imagezmq"], strict=True)]
            medians["udpconf"][f"{side}_cpu_ratio"] = round(statistics.median(ratios), 2)
    print(json.dumps({"medians": medians}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delay", default="1ms")
    parser.add_argument("--loss", default="0%")
    parser.add_argument("--burst", help="mean length of loss bursts, packets")
    parser.add_argument("--jitter")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kbps", type=int, default=3000, help="bitrate of the JPEGs; picks the quality")
    parser.add_argument("--quality", type=int, default=0)
    parser.add_argument("--ceiling-kbps", type=int, default=8000)
    parser.add_argument("--latency-ms", type=int)
    parser.add_argument("--clip", type=Path, default=HERE.parent / ".media" / "bigbuckbunny.mp4")
    parser.add_argument("--no-imagezmq", action="store_true")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role is None:
        orchestrate(args)
        return
    args.count = WARM_UP_FRAMES + int(args.seconds * FPS)
    verb, program = args.role.split("-")
    if verb == "receive":
        # The lab stops the first program when the second has ended; the report comes first.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Timer(args.seconds + 60, os._exit, (1,)).start()
        (receive_udpconf if program == "udpconf" else receive_imagezmq)(args)
        os._exit(0)
    paced = Paced(clip_pictures(args.clip), args.seconds)
    (send_udpconf if program == "udpconf" else send_imagezmq)(args, paced)
    paced.report(args.out)
    # Until the receiver has written what it saw.
    time.sleep(1.5)
    os._exit(0)


if __name__ == "__main__":
    main()
