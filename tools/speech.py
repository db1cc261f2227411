#!/usr/bin/env python3
"""How well speech is understood after bad networks: udpconf, the same losses as silence, and aiortc (WebRTC).

    sudo .venv/bin/pip install pystoi pesq aiortc    # for this tool alone
    sudo apt-get install espeak-ng
    sudo .venv/bin/python tools/speech.py --seeds 2 --aiortc

A minute of synthetic speech goes between two network namespaces (netem/lab-net), through Sender.send_audio and Server.audio.
"Lost = silence" is the same speech through the same Opus at 32 kbit/s, one frame a packet, each packet that the link lost
replaced by 10 ms of silence: what there would be without copies and without concealment, and with all the time in the world.
aiortc sends the same over the same kind of link with the same seed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Never

signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from tools.lab import baseline_webrtc  # noqa: E402
from tools.lab.devices import Ended, now_us  # noqa: E402
from tools.lab.link_log import NEVER, SOUND, LinkLog, read_link_log  # noqa: E402
from tools.lab.plan import DRAIN_S, PASSPHRASE, PORT  # noqa: E402
from tools.lab.roles import end  # noqa: E402
from tools.lab.runner import LAB_NET, WITH_US, last_line, make_folder  # noqa: E402
from tools.lab.speech_scores import Scores, scores  # noqa: E402
from tools.lab.voices import RATE, Speech, speech  # noqa: E402
from udpconf.media.opus import ENCODER_DELAY_US, FRAME_SAMPLES, OpusEncoder  # noqa: E402
from udpconf.media.opus_decoder import OpusDecoder  # noqa: E402
from udpconf.proto.audio_target import PLAY_US  # noqa: E402

Pcm = NDArray[np.int16]

JITTER = "--delay 20ms --jitter 30ms"
LINKS = {
    "no loss": JITTER,
    "20 % lost": f"{JITTER} --loss 20%",
    "10 % lost in bursts of 5": f"{JITTER} --loss 10% --burst 5",
}
UDP_IP_BYTES = 28
# Blocks come every 5 ms, on a busy machine some at once.
PAUSE_US = 50_000
# To ask drives the core: not for each block.
STATS_BLOCKS = 4
# From the first breath of the two processes to the first word, and for ICE and DTLS where a fifth is lost.
PATIENCE_S = 60


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1, help="runs of each link (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="the first one (default 1)")
    parser.add_argument(
        "--link",
        action="append",
        metavar="OPTIONS",
        help="options of netem/lab-net, in quotes, instead of the three links",
    )
    parser.add_argument("--aiortc", action="store_true", help="send it with aiortc as well")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("speech: network namespaces need root: start this with sudo.", file=sys.stderr)
        return 4
    links = {link: link for link in arguments.link} if arguments.link else LINKS
    try:
        said = speech()
    except FileNotFoundError:
        print("speech: there is no espeak-ng here: apt-get install espeak-ng.", file=sys.stderr)
        return 4
    for name, options in links.items():
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            print(f"{name}, seed {seed} ({len(said.pcm) / RATE:.0f} s)", flush=True)
            measure_udpconf(said, options, seed)
            if arguments.aiortc:
                measure_aiortc(said, options, seed)
    return 0


def measure_udpconf(said: Speech, options: str, seed: int) -> None:
    found = run("udpconf", said, options, seed)
    if found is None:
        return
    notes, heard, heard_us, log = found
    show("udpconf", scores(said.pcm, heard, heard_us, notes["start_us"], said.utterances))
    frames = len(said.pcm) // FRAME_SAMPLES
    print(f"    concealed {notes['missing']:.2%}, {payload_kbps(log, notes, said):.0f} kbit/s of UDP payload")
    here = (log.up.sent_us >= notes["start_us"]) & (log.up.kinds("udpconf", forward=True) == SOUND)
    lost = (log.up.due_us[here] == NEVER)[:frames]
    silent = with_silence(said.pcm, np.pad(lost, (0, frames - len(lost))))
    times = np.arange(len(silent)) * 1_000_000 // RATE
    show(
        f"lost = silence ({lost.mean():.1%})",
        scores(said.pcm, silent, times, 0, said.utterances),
        delays=False,
    )


def measure_aiortc(said: Speech, options: str, seed: int) -> None:
    found = run("aiortc", said, options, seed)
    if found is None:
        return
    notes, heard, heard_us, log = found
    show("aiortc", scores(said.pcm, heard, heard_us, notes["start_us"], said.utterances))
    print(f"    silent {notes['missing']:.2%}, {payload_kbps(log, notes, said):.0f} kbit/s of UDP payload")


def show(name: str, result: Scores, *, delays: bool = True) -> None:
    quality = "no PESQ" if result.pesq is None else f"PESQ {result.pesq:.2f}"
    heard = ""
    if delays and result.delay_ms:
        p50, p95 = np.percentile(result.delay_ms, (50, 95))
        heard = f", heard after {p50:.0f} ms (p95 {p95:.0f}, {len(result.delay_ms)} pieces)"
    print(f"  {name}: STOI {result.stoi:.3f} (worst {result.stoi_worst:.3f}), {quality}{heard}", flush=True)


def with_silence(pcm: Pcm, lost: NDArray[np.bool_]) -> Pcm:
    """Through Opus at 32 kbit/s, frame by frame, with zeros where one is lost."""
    encoder, decoder = OpusEncoder(), OpusDecoder()
    parts = []
    for number, gone in enumerate(lost):
        data = encoder.encode(pcm[number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES])
        parts.append(np.zeros(FRAME_SAMPLES, np.int16) if gone else decoder.decode(data))
    return np.concatenate(parts)[ENCODER_DELAY_US * RATE // 1_000_000 :]


def payload_kbps(log: LinkLog, notes: dict[str, Any], said: Speech) -> float:
    """Everything that the sender put on the link while it spoke, without IP and UDP headers."""
    seconds = len(said.pcm) / RATE
    during = (log.up.sent_us >= notes["start_us"]) & (log.up.sent_us < notes["start_us"] + seconds * 1e6)
    return float(np.sum(log.up.size[during] - UDP_IP_BYTES)) * 8 / 1000 / seconds


def run(
    program: str, said: Speech, options: str, seed: int
) -> tuple[dict[str, Any], Pcm, NDArray[np.int64], LinkLog] | None:
    """(what both processes noted, what was heard, when each sample was, the link's log); None, said why: it failed."""
    import shutil

    folder = make_folder()
    try:
        np.save(folder / "said.npy", said.pcm)

        def role(name: str) -> list[str]:
            return [sys.executable, __file__, "--role", name, program, str(folder)]

        link = [*options.split(), "--seed", str(seed), "--log", str(folder / "link.jsonl")]
        lab = subprocess.run(
            [*WITH_US, str(LAB_NET), *link, "--", *role("receive"), "--", *role("send")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=len(said.pcm) / RATE + 2 * PATIENCE_S,
        )
        if lab.returncode != 0:
            print(
                f"  {program}: no figures, code {lab.returncode}. {last_line(lab.stdout + lab.stderr)}",
                flush=True,
            )
            return None
        notes = {
            **json.loads((folder / "send.json").read_text()),
            **json.loads((folder / "receive.json").read_text()),
        }
        with np.load(folder / "heard.npz") as file:
            heard, heard_us = file["heard"], file["heard_us"]
        if len(heard) < len(said.pcm) / 2:
            print(
                f"  {program}: no figures, of {len(said.pcm) / RATE:.0f} s {len(heard) / RATE:.1f} were heard."
            )
            print(lab.stdout + lab.stderr, flush=True)
            return None
        return notes, heard, heard_us, read_link_log(folder / "link.jsonl")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- the two processes ---------------------------------------------------------------------------------------------------


def play_role(role: str, program: str, folder: Path) -> Never:
    said: Pcm = np.load(folder / "said.npy")
    watchdog = threading.Timer(len(said) / RATE + PATIENCE_S, os._exit, (1,))
    watchdog.daemon = True
    watchdog.start()
    if role == "send":
        start_us = send_udpconf(said) if program == "udpconf" else baseline_webrtc.send(said, folder, DRAIN_S)
        (folder / "send.json").write_text(json.dumps({"start_us": start_us}))
    else:
        signal.signal(signal.SIGTERM, end)
        if program == "udpconf":
            concealed, heard, heard_us = receive_udpconf()
            noted = {"missing": len(concealed) * FRAME_SAMPLES / len(said), "concealed": concealed}
        else:
            missing, heard, heard_us = baseline_webrtc.receive(folder)
            noted = {"missing": missing}
        np.savez(folder / "heard.npz", heard=heard, heard_us=heard_us)
        (folder / "receive.json").write_text(json.dumps(noted))
    os._exit(0)


def send_udpconf(said: Pcm) -> int:
    import udpconf

    sender = udpconf.Sender(
        os.environ["LAB_PEER"], PORT, passphrase=PASSPHRASE, name="voice", video=False, connect_timeout=30
    )
    start_us = now_us() + 100_000
    # Silence is sent as well until the last word has been heard, or the end would count as concealed.
    with_end = np.pad(said, (0, round(DRAIN_S * RATE)))
    for place in range(0, len(with_end) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        first_us = start_us + place * 1_000_000 // RATE
        time.sleep(max(0, first_us + 10_000 - now_us()) / 1e6)
        sender.send_audio(with_end[place : place + FRAME_SAMPLES], first_us)
    return start_us


def receive_udpconf() -> tuple[list[int], Pcm, NDArray[np.int64]]:
    """(which sample came about when a frame was made up, for each of those; what was heard; when each sample was)."""
    import udpconf

    concealed: list[int] = []
    blocks: list[Pcm] = []
    times: list[int] = []
    with udpconf.Server("0.0.0.0", PORT, passphrase=PASSPHRASE) as server:
        try:
            for block in server.audio():
                at_us = now_us()
                # Nothing is handed out while there is nothing to hear: in a long burst of losses too, and that is silence.
                paused = bool(times) and at_us - times[-1] > PAUSE_US
                while paused and at_us - times[-1] >= 2 * PLAY_US:
                    times.append(times[-1] + PLAY_US)
                    blocks.append(np.zeros_like(blocks[-1]))
                times.append(at_us)
                blocks.append(block.pcm[:, 0])
                if len(blocks) % STATS_BLOCKS == 0:
                    count = sum(stats.audio_frames_concealed for stats in server.stats().values())
                    concealed += [len(blocks) * len(block.pcm)] * (count - len(concealed))
        except Ended:
            pass
        within = np.arange(len(blocks[0])) * 1_000_000 // RATE
        heard_us = (np.array(times[: len(blocks)], np.int64)[:, np.newaxis] + within).ravel()
        return concealed, np.concatenate(blocks), heard_us


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "--role":
        play_role(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    sys.exit(main())
