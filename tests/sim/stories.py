"""Plans that read as stories, played in virtual time through everything but sockets and codecs.

    play([Conditions("wifi-bursts"), Media(kbps=3000, sound=True), Run(s=30), Check("...", lambda call: ...)])

Real endpoints, a link of scenarios, jitter buffers for pictures and sound with lip sync, a loudspeaker that takes 10 ms
every 10 ms; the null cipher. One seed gives one trace: a hash over all that was sent, delivered, shown and heard, times
included.
"""

import hashlib
import random
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple
from zlib import crc32

from tests.conversation import SERVER_START_US, Conversation, fitting_bytes
from tests.pictures import picture
from tests.sim.figures import Call
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.scenario import Scenario, load_scenario, of_conditions
from udpconf.frames import EncodedFrame
from udpconf.limits import MS, SECOND
from udpconf.proto.audio_target import PLAY_US
from udpconf.proto.client_config import ClientConfig
from udpconf.proto.events import AudioReceived, ClientJoined, ServerEvent, VideoFrameDue
from udpconf.proto.packetizer import pack_segments

PASSPHRASE = "five words make a key"
OPUS_BYTES = 77  # and as much as a number takes: 20 ms at 32 kbit/s
# What the first byte of a frame says about its length (RFC 6716, section 3.1: full band CELT).
TABLES_OF_CONTENTS = {5 * MS: 0xE8, 10 * MS: 0xF0, 20 * MS: 0xF8}
# As the server's application does it.
LIP_SYNC_INTERVAL_US = 200 * MS
# Making up new pictures would take as long as sending them; so many different ones take turns.
PICTURES = 30
# Where the path has no room for the size that was asked for, pictures shrink by this part of it at a time.
SIZE_STEPS = 10
PIECES_AT_ONCE = 500
_SENT, _CAME = {"up": b"u", "down": b"d"}, {"up": b"U", "down": b"D"}
_RECORD = struct.Struct(">cBQq")  # what, client, when, number


class Conditions(NamedTuple):
    """The path of every client from now on: a scenario by name, one made up, or the same conditions both ways."""

    what: str | Scenario | LinkConditions


class Media(NamedTuple):
    """What a client captures from now on; nothing before. ``kbps`` 0: no pictures."""

    kbps: int = 3000
    sound: bool = True
    fps: int = 30
    of: str = "cam"
    sound_ms: int = 10  # of a frame; as a client begins, so it goes on


class Join(NamedTuple):
    """Another client joins; it captures nothing as yet."""

    name: str


class Leave(NamedTuple):
    """A client says goodbye."""

    name: str


class Run(NamedTuple):
    """So many seconds of the story pass."""

    s: float


class Check(NamedTuple):
    """A sentence about a call that has to be true by now."""

    sentence: str
    holds: Callable[[Call], bool]
    of: str = "cam"


Step = Conditions | Media | Join | Leave | Run | Check


def play(plan: Sequence[Step], seed: int | str = 1) -> "Story":
    """Play a plan; the first client, "cam", is in it from the first step on that is not Conditions.

    Raises:
        AssertionError: a check does not hold, or something is not conserved; with the plan, the seed and the figures.
    """
    story = Story(plan, seed)
    for step in plan:
        story.take(step)
    for name, call in story.calls.items():
        if violations := call.violations():
            raise AssertionError(story.told(f"{name}: {'; '.join(violations)}"))
    return story


@cache
def _pictures(coded_bytes: int, segment_bytes: int) -> list[EncodedFrame]:
    """As an encoder makes them that knows the path: intervals joined to segments of at most that size."""
    pictures = [picture(number, 0, coded_bytes) for number in range(PICTURES)]
    return [whole._replace(segments=tuple(pack_segments(whole, segment_bytes))) for whole in pictures]


class Story:
    """A plan as it is played.

    Attributes:
        calls: what came of each client, by name.
    """

    def __init__(self, plan: Sequence[Step], seed: int | str) -> None:
        self.plan, self.seed = plan, seed
        self.calls: dict[str, Call] = {}
        self._conversation = Conversation(seed=seed)
        self._conversation.on_datagram = self._datagram
        self._conversation.on_server_event = self._server_event
        self._by_number: list[Call] = []
        self._by_id: dict[str, Call] = {}
        self._media: dict[str, Media] = {}
        self._lips_synced_us: dict[int, int] = {}
        self._listening = False
        self._hash = hashlib.md5(usedforsecurity=False)
        self._unhashed: list[bytes] = []  # many small pieces are hashed as one
        self._opus = random.Random(f"{seed}/opus").randbytes(OPUS_BYTES)

    @property
    def trace(self) -> str:
        """The hash of all that happened up to now."""
        self._hash.update(b"".join(self._unhashed))
        self._unhashed.clear()
        return self._hash.hexdigest()

    def take(self, step: Step) -> None:
        conversation = self._conversation
        if isinstance(step, Conditions):
            conversation.set_scenario(_scenario(step.what))
            return
        if not self.calls:
            self._join("cam", step.sound_ms if isinstance(step, Media) else 10)
        if isinstance(step, Media):
            self._capture(step)
        elif isinstance(step, Join):
            self._join(step.name)
        elif isinstance(step, Leave):
            self._leave(step.name)
        elif isinstance(step, Run):
            conversation.run(step.s)
        elif not step.holds(self.calls[step.of]):
            raise AssertionError(self.told(f"{step.of}: it is not so that {step.sentence}"))

    def told(self, complaint: str) -> str:
        """What went wrong, in which story, with all figures."""
        lines = [
            complaint,
            f"seed {self.seed!r}, {self._conversation.now_us / SECOND:g} s into the story; plan:",
        ]
        lines += [f"    {_told(step)}" for step in self.plan]
        for name, call in self.calls.items():
            lines += [f"{name}:", *(f"    {line}" for line in str(call).splitlines())]
        return "\n".join([*lines, f"trace {self.trace}"])

    # --- who captures what ---

    def _join(self, name: str, sound_ms: int = 10) -> None:
        config = ClientConfig(PASSPHRASE, name, null_cipher=True, audio_frame_us=sound_ms * MS)
        peer = self._conversation.join(config)
        call = self.calls[name] = self._by_number[peer.number]
        self._by_id[peer.endpoint.client_id] = call
        self._media[name] = Media(kbps=0, sound=False, of=name)

    def _leave(self, name: str) -> None:
        self._capture(Media(kbps=0, sound=False, of=name))
        peer = self.calls[name].peer
        peer.endpoint.close(self._conversation.now_us + peer.clock_offset_us)
        self._conversation.drain(peer)

    def _capture(self, media: Media) -> None:
        call = self.calls[media.of]
        self._media[media.of] = media
        call.video_on, call.sound_on = media.kbps > 0, media.sound
        if call.video_on:
            self._picture(call, media, self._conversation.now_us)
        if call.sound_on:
            self._sound(call, media, self._conversation.now_us)

    def _picture(self, call: Call, media: Media, at_us: int) -> None:
        """Capture one now, and the next when it is time, as long as nothing else is asked for."""
        if self._media[media.of] is not media:
            return
        conversation, peer = self._conversation, call.peer
        local_us = at_us + peer.clock_offset_us
        frame_id = len(call.accepted_ids)  # the sender's application counts what it gives to the endpoint
        call.captured += 1
        size_bytes = media.kbps * 1000 // 8 // media.fps
        room_bytes = fitting_bytes(peer.endpoint, local_us, media.fps)
        while size_bytes > room_bytes > 0:
            size_bytes -= size_bytes // SIZE_STEPS + 1
        if peer.state == "connected":
            if room_bytes:
                call.accepted_ids.append(frame_id)
                peer.sent_at_us[frame_id] = at_us
            else:
                call.left_out += 1
        if room_bytes:
            pictures = _pictures(size_bytes, peer.endpoint.segment_max_bytes)
            encoded = pictures[call.captured % PICTURES]._replace(capture_us=local_us)
            peer.endpoint.send_frame(local_us, frame_id, encoded)
            conversation.drain(peer)
        next_us = at_us + SECOND // media.fps
        conversation.at(next_us, lambda: self._picture(call, media, next_us))

    def _sound(self, call: Call, media: Media, at_us: int) -> None:
        if self._media[media.of] is not media:
            return
        conversation, peer = self._conversation, call.peer
        local_us = at_us + peer.clock_offset_us
        call.sounds_captured += 1
        frame_us = media.sound_ms * MS
        opus_bytes = peer.endpoint.sound_bitrate_bps * frame_us // (8 * SECOND)
        number = call.sounds_captured.to_bytes(3, "big")
        opus = bytes((TABLES_OF_CONTENTS[frame_us],)) + number + self._opus[4:opus_bytes]
        peer.endpoint.send_audio(local_us, opus, local_us)
        conversation.drain(peer)
        next_us = at_us + frame_us
        conversation.at(next_us, lambda: self._sound(call, media, next_us))

    # --- what the server's application does ---

    def _server_event(self, event: ServerEvent) -> None:
        now_us = self._conversation.now_us
        if isinstance(event, VideoFrameDue):
            call = self._by_id[event.client_id]
            call.show(event)
            encoded = event.frame.encoded
            content = 0  # its bytes are in the trace since they were sent; here is which of them are shown
            for segment in encoded.segments:
                content = crc32(segment.data, content)
            self._record(b"v", call, event.frame.frame_id, content.to_bytes(4, "big"))
            self._sync_lips(call, now_us)
        elif isinstance(event, AudioReceived):
            self._by_id[event.client_id].hear(event)
            if not self._listening:
                self._listening = True
                self._loudspeaker(now_us)
        elif isinstance(event, ClientJoined):
            self._by_id[event.client_id].join()

    def _loudspeaker(self, at_us: int) -> None:
        for call in self._by_number:
            for frame in call.play_sound(SERVER_START_US + at_us):
                self._record(b"s", call, frame.capture_us, frame.data or b"")
        next_us = at_us + PLAY_US
        self._conversation.at(next_us, lambda: self._loudspeaker(next_us))

    def _sync_lips(self, call: Call, now_us: int) -> None:
        number, server = call.peer.number, self._conversation.server
        if server is not None and now_us - self._lips_synced_us.get(number, 0) >= LIP_SYNC_INTERVAL_US:
            self._lips_synced_us[number] = now_us
            server.set_audio_delay(
                SERVER_START_US + now_us, call.peer.endpoint.client_id, call.hearing[-1].delay_us
            )

    # --- the trace ---

    def _datagram(self, direction: str, number: int, out: bool, data: bytes) -> None:
        if number == len(self._by_number):  # the HELLO that leaves within join()
            self._by_number.append(Call(self._conversation, self._conversation.clients[number]))
        call = self._by_number[number]
        if out:  # its bytes are in the trace since it was sent; what was flipped in it shows in what it does
            call.came(direction)
            self._record(_CAME[direction], call, len(data))
        else:
            call.sent(direction, data)
            self._record(_SENT[direction], call, len(data), data)

    def _record(self, what: bytes, call: Call, number: int, *data: bytes) -> None:
        self._unhashed += (_RECORD.pack(what, call.peer.number, self._conversation.now_us, number), *data)
        if len(self._unhashed) >= PIECES_AT_ONCE:
            self._hash.update(b"".join(self._unhashed))
            self._unhashed.clear()


def _scenario(what: str | Scenario | LinkConditions) -> Scenario:
    if isinstance(what, str):
        return load_scenario(what)
    return of_conditions(what) if isinstance(what, LinkConditions) else what


def _told(step: Step) -> str:
    """A step as it was written, with no more of its conditions than differ from a perfect wire."""
    if isinstance(step, Check):
        return f"Check: {step.sentence}"
    if isinstance(step, Conditions) and isinstance(step.what, LinkConditions):
        perfect = LinkConditions()
        differs = [
            f"{name}={value}"
            for name, value in step.what._asdict().items()
            if value != getattr(perfect, name)
        ]
        return f"Conditions({', '.join(differs)})"
    if isinstance(step, Conditions) and isinstance(step.what, Scenario):
        return f"Conditions({step.what.name})"
    return repr(step)
