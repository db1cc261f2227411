"""What netem/lab-net wrote down about each packet, as arrays."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Sizes of IP packets, by which the kinds are told apart; the link cannot look into what is encrypted. Measured: a packet
# of sound has 100 to 210 bytes, the smallest shard of a picture 540, pings, reports and acknowledgements at most 81.
# A rare handshake or control message in between counts as sound.
_CONTROL_MAX_BYTES = 90
_SOUND_MAX_BYTES = 300
# TCP without data, from a sender that gets none: IP 20, TCP 20, timestamps 12.
_TCP_EMPTY_BYTES = 52

CONTROL, SOUND, MEDIA, PARITY = range(4)
KINDS = ("control", "sound", "media", "parity")
NEVER = np.iinfo(np.int64).max


class Packets(NamedTuple):
    """One direction's packets in the order they were sent; arrays of one length."""

    sent_us: NDArray[np.int64]
    due_us: NDArray[
        np.int64
    ]  # when the link let it out; NEVER: lost, dropped, damaged, or still under way at the end
    size: NDArray[np.int64]  # bytes, IP header included

    def kinds(self, program: str, *, forward: bool, probe_bytes: int | None = None) -> NDArray[np.int64]:
        """CONTROL, SOUND or MEDIA of each packet.

        Args:
            program: whose they are, udpconf or tcp.
            forward: they come from the sender of pictures.
            probe_bytes: the size of the padded packets that prove every 3 s that the path still carries it, which
                hardly a shard has.
        """
        if program == "tcp":
            return np.where((self.size > _TCP_EMPTY_BYTES) & forward, MEDIA, CONTROL)
        kinds = np.full(len(self.size), MEDIA)
        kinds[self.size <= _SOUND_MAX_BYTES] = SOUND
        kinds[(self.size <= _CONTROL_MAX_BYTES) | (self.size == probe_bytes)] = CONTROL
        if not forward:
            kinds[:] = CONTROL
        return kinds


class LinkLog(NamedTuple):
    """Everything that happened on the link."""

    up: Packets  # from the client to the server
    down: Packets
    steps_us: list[int]  # when the scenario changed; the first is its start


def read_link_log(path: Path) -> LinkLog:
    """Read what lab-net wrote. A damaged packet counts as lost, and a last line that was cut off is left out."""
    steps_us: list[int] = []
    sent: dict[str, list[tuple[int, int]]] = {"up": [], "down": []}
    due_us: dict[str, dict[int, int]] = {"up": {}, "down": {}}
    damaged: dict[str, set[int]] = {"up": set(), "down": set()}
    with path.open() as lines:
        for line in lines:
            if not line.endswith("}\n"):
                break
            entry = json.loads(line)
            if "step" in entry:
                steps_us.append(entry["at_us"])
                continue
            direction, number = entry["direction"], entry["n"]
            if "sent_us" in entry:
                sent[direction].append((entry["sent_us"], entry["size"]))
                if entry["corrupted"]:  # the kernel's checksum throws it away, and its copy
                    damaged[direction].add(number)
            elif number not in damaged[direction]:
                due_us[direction].setdefault(number, entry["due_us"])  # a copy comes later, or without it

    def packets(direction: str) -> Packets:
        sent_us, size = np.array(sent[direction], np.int64).reshape(-1, 2).T
        due = [due_us[direction].get(number, NEVER) for number in range(len(sent_us))]
        return Packets(sent_us, np.array(due, np.int64), size)

    return LinkLog(packets("up"), packets("down"), steps_us)
