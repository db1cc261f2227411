"""How much sound is made at a time: 5 ms, and of many clients more, as most of what a turn needs has left the caches since the last one.

That is 1 ms a turn, whatever it does (2-core x86-64). Of sixteen clients 20 ms at a time take a third less of the processor than 5, and
40 a sixth less than 20.
"""

from collections.abc import Mapping

from udpconf.app.client_sound import ClientSound
from udpconf.limits import SECOND
from udpconf.proto.audio_target import PLAY_US

# Blocks of 5 ms that are made at a time of more clients than so many, if they send sound; the last of them where nobody hears
# it through a loudspeaker of ours, who would hear it 20 ms later.
FEW_VOICES, SOME_VOICES = 4, 8
BLOCKS_OF_FEW, BLOCKS_OF_SOME, BLOCKS_OF_MANY, BLOCKS_OF_MANY_UNHEARD = 1, 2, 4, 8
# More at a time would come too soon at once: so long everybody's sound has to get longer by that, unheard.
GROW_US = 3 * SECOND


class TurnSize:
    """Belongs to the sound thread.

    Attributes:
        blocks: so many times 5 ms are made at a time.
    """

    def __init__(self) -> None:
        self.blocks = self._wanted = BLOCKS_OF_FEW
        self._grow_at_us = 0  # when the one becomes the other
        self._clients: Mapping[str, ClientSound] = {}  # those that were counted
        self._voices = 0

    def follow(self, now_us: int, clients: Mapping[str, ClientSound], *, loudspeaker: bool) -> int:
        """How many blocks now; no more than before until everybody's sound waits that long."""
        if clients is not self._clients:
            self._clients = clients
            self.count()
        if self._voices <= FEW_VOICES:
            wanted = BLOCKS_OF_FEW
        elif self._voices <= SOME_VOICES:
            wanted = BLOCKS_OF_SOME
        else:
            wanted = BLOCKS_OF_MANY if loudspeaker else BLOCKS_OF_MANY_UNHEARD
        if wanted != self._wanted:
            self._wanted, self._grow_at_us = wanted, now_us + GROW_US
        if wanted < self.blocks or now_us >= self._grow_at_us:
            self.blocks = wanted
        elif wanted > self.blocks:
            for client in clients.values():
                client.buffer.expect(wanted * PLAY_US)
        return self.blocks

    def count(self) -> None:
        """One of the clients has sent sound for the first time."""
        self._voices = sum(client.has_sent for client in self._clients.values())
