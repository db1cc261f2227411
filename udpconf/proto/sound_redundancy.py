"""How many earlier frames each packet of sound repeats, and which.

A frame is in its own packet and in up to three later ones. It is lost if all of these are; where losses come in runs, packets
that are further apart are lost together less often. In Gilbert's model (Gilbert, 1960) of a share p of losses in runs of b on
average, a packet is lost, if the one d before it was, with the chance

    p + (1 - p) r^d,    r = 1 - 1 / b - p / (1 - p) / b

(the second eigenvalue of the chain's matrix), whatever came before that one. But who waits for the last of the copies hears
everything later. A frame lost in a hundred is worth 25 ms (NetEQ's reorder optimizer says 20), and a copy is not for nothing either.
"""

from functools import lru_cache
from itertools import combinations, pairwise
from math import prod
from typing import NamedTuple

from udpconf.frames import OPUS_FRAME_US
from udpconf.limits import MS
from udpconf.wire.frames import AUDIO_COPIES_MAX

# So much delay is as bad as all of the sound lost; a hundredth of it as one frame of a hundred. Chosen in
# virtual time (docs/sound.md): with NetEQ's 2000 sound is heard as soon, and a twentieth more of it is lost in bursts.
DELAY_OF_ALL_US = 2500 * MS
# A copy of 40 bytes costs as much as a frame in a thousand: there are bytes enough beside pictures.
COPY_PRICE = 0.001
# Who waits longer than that for a copy cannot talk any more: 150 ms from mouth to ear is where ITU-T G.114 draws the line, and
# encoder, path, jitter and loudspeaker take the rest. With 60 ms, 3.3 % are lost of 10 % in bursts of five, and it is heard 8 ms later.
# Frames of 20 ms may be three apart, so that there can be three copies.
WAIT_MAX_US = 50 * MS


class Redundancy(NamedTuple):
    """Which earlier frames a packet repeats.

    Attributes:
        distances: by how many frames each is older than the newest, rising.
    """

    distances: tuple[int, ...]

    @property
    def copies(self) -> int:
        """Of each frame, beside the first."""
        return len(self.distances)


def sound_redundancy(
    loss: float, burst: float, frame_us: int = OPUS_FRAME_US, copies_max: int = AUDIO_COPIES_MAX
) -> Redundancy:
    """What is worth its bytes and its delay.

    Args:
        loss: share of packets that the path loses, 0..1.
        burst: mean length of a run of losses, packets.
        frame_us: how long a frame is.
        copies_max: there are not bytes for more.
    """
    return _best(round(loss, 2 if loss >= 0.1 else 3), round(2 * burst) / 2, frame_us, copies_max)


@lru_cache(1024)
def _best(loss: float, burst: float, frame_us: int, copies_max: int) -> Redundancy:
    within = range(1, -(-WAIT_MAX_US // frame_us) + 1)
    plans = [
        Redundancy(distances)
        for copies in range(copies_max + 1)
        for distances in combinations(within, copies)
    ]

    def cost(plan: Redundancy) -> float:
        waited_us = max(plan.distances, default=0) * frame_us
        return lost_share(plan, loss, burst) + waited_us / DELAY_OF_ALL_US + plan.copies * COPY_PRICE

    return min(plans, key=cost)


def lost_share(plan: Redundancy, loss: float, burst: float) -> float:
    """Of the frames, those that are lost in every packet that carries them."""
    if loss >= 1:
        return 1.0
    burst = max(burst, 1 / (1 - loss))
    memory = 1 - 1 / burst - loss / (1 - loss) / burst
    gaps = (after - before for before, after in pairwise((0, *plan.distances)))
    return loss * prod(loss + (1 - loss) * memory**gap for gap in gaps)
