"""A client's pictures on their way out: cut into shards, sent with parity, and with more of it when the server asks.

What answers a request was never sent before, so whatever arrives of it helps, and nobody needs to know which datagrams
were lost (incremental redundancy; hybrid ARQ of type II).
"""

from collections import OrderedDict

from udpconf.frames import EncodedFrame
from udpconf.limits import DATAGRAM_DEFAULT_BYTES, DATAGRAM_MAX_BYTES, FRAME_MAX_BYTES, MS
from udpconf.proto.erasure_code import SHARDS_PER_BLOCK_MAX, ErasureCode
from udpconf.proto.pacer import Pacer
from udpconf.proto.packetizer import packetize
from udpconf.proto.parity import FrameParity, parity_shards
from udpconf.proto.path_rate import PathRate
from udpconf.proto.redundancy import ROUNDS_MAX, repair_count
from udpconf.proto.rtt import RoundTrip
from udpconf.proto.sender_totals import IP_UDP_BYTES, SenderTotals
from udpconf.proto.session import Session
from udpconf.wire.envelope import Channel
from udpconf.wire.frames import ANSWERS_REPAIR, SHARD_PAYLOAD_BYTES, Repair, VideoShard, encode_video

# Beyond the round trip a round of repair takes so long: the receiver waits for what may still be behind (repair_timer.py),
# and both ends have to wake up.
ROUND_OVERHEAD_US = 6 * MS
# What may still be asked for: as many frames as a receiver keeps open, and no more bytes than the largest of them twice.
FRAMES_KEPT = 64
BYTES_KEPT = 2 * FRAME_MAX_BYTES
# Repair may fill a second up to this share of the ceiling: the frames of the second vary in size.
_REPAIR_CEILING = 0.95
# Where parity has to do it all against so much loss, a picture of few datagrams goes in more and smaller ones: the larger block
# saves more with the same bytes, until headers eat it up. By arithmetic, at 5 % of loss 12 kB with 25 % of overhead, headers
# included, come out fresh by 99.10 % in datagrams of 1452 bytes, by 99.3 of 1100 to 1200, by 99.14 of 900.
SMALL_DATAGRAMS_LOSS = 0.01
SMALL_DATAGRAM_BYTES = 1150
FEW_DATAGRAMS = 20
# From here on what is lost is what the path's queue had no room for, and more would only make it longer.
STANDING_QUEUE_US = 30 * MS


class _SentFrame:
    """The data of a frame, and which parity of each block has been sent."""

    __slots__ = ("data", "next_index", "size_bytes")

    def __init__(self, data: list[VideoShard], parity: list[VideoShard]) -> None:
        self.data = data
        self.next_index = {shard.block: shard.data_shards for shard in data[: data[0].blocks]}
        for shard in parity:
            self.next_index[shard.block] = max(self.next_index[shard.block], shard.shard_index + 1)
        self.size_bytes = sum(len(shard.payload) for shard in data)


class VideoSender:
    """Pictures of one session after another, in datagrams' plaintexts.

    Args:
        max_bitrate_kbps: the user's ceiling.
        totals: is told what is sent, and asked what the path loses.
        recovery: pictures get parity, and requests answers.

    Attributes:
        path: what is known of the path's rate and queue.
        small_datagrams: the next picture should be cut for SMALL_DATAGRAM_BYTES; any thread may read it.
    """

    def __init__(self, max_bitrate_kbps: int, totals: SenderTotals, *, recovery: bool = True) -> None:
        self._recovery = recovery
        self._max_bitrate_kbps = max_bitrate_kbps
        self.path = PathRate(max_bitrate_kbps)
        self._pacer = Pacer(max_bitrate_kbps)
        self._second_max_bytes = max_bitrate_kbps * 1000 / 8 * _REPAIR_CEILING
        self._code = ErasureCode()
        self._parity = FrameParity(self._code)
        self._totals = totals
        self._sent: OrderedDict[int, _SentFrame] = OrderedDict()
        self._sent_bytes = 0
        self.small_datagrams = False

    # --- inputs ---

    def send(
        self, now_us: int, frame_id: int, encoded: EncodedFrame, payload_bytes: int, session: Session
    ) -> None:
        """Queue a picture with as much parity as it is worth."""
        round_trip = session.round_trip
        self._totals.sent_in_a_second(now_us, session)
        loss = self._totals.expected_loss(now_us)
        protect = self._recovery and not self._queue_stands(now_us)
        data = packetize(encoded, frame_id, payload_bytes)
        if not data:
            return
        parity: list[VideoShard] = []
        few = False
        if protect:
            rounds = _rounds(self._totals.repair_time_us, round_trip)
            parity = self._parity.of_frame(data, *loss, rounds, self._totals.request_loss(now_us))
            few = encoded.coded_size < FEW_DATAGRAMS * DATAGRAM_MAX_BYTES and not rounds
        self.small_datagrams = few and loss[0] >= SMALL_DATAGRAMS_LOSS
        self._totals.frame_queued(data, self._parity.share if protect else 0.0)
        self._pacer.push(frame_id, map(encode_video, (*data, *parity)))
        if self._recovery:
            self._keep(frame_id, _SentFrame(data, parity))

    def handle_repair(self, now_us: int, repair: Repair, session: Session) -> None:
        """Queue shards of a frame that have not been sent yet.

        Nothing, if the frame is not known any more, too few are left to help, or more datagrams would only make a queue longer
        or break the ceiling.
        """
        round_trip = session.round_trip
        frame = self._sent.get(repair.frame_id)
        if frame is None or repair.block not in frame.next_index:
            return
        if self._queue_stands(now_us):
            return
        data = frame.data[repair.block :: frame.data[0].blocks]
        missing = min(repair.missing, len(data))
        # The time left was told when the request was sent: it and the answer take a round trip.
        rounds = _rounds(repair.time_left_us - round_trip.smoothed_rtt_us, round_trip)
        # An answer is of one block and leaves in one go, so here a run of losses on the wire is one of the block.
        loss = self._totals.expected_loss(now_us)
        wanted = repair_count(missing, len(data), *loss, rounds, self._totals.request_loss(now_us))
        room = self._second_max_bytes - self._totals.sent_in_a_second(now_us, session)
        room -= self._pacer.waiting_bytes
        datagram_bytes = (
            max(len(shard.payload) for shard in data) + DATAGRAM_DEFAULT_BYTES - SHARD_PAYLOAD_BYTES
        )
        first = frame.next_index[repair.block]
        wanted = min(wanted, SHARDS_PER_BLOCK_MAX - first, int(room // (datagram_bytes + IP_UDP_BYTES)))
        if wanted < missing:
            return  # it would decode nothing
        indexes = range(first, first + wanted)
        frame.next_index[repair.block] = indexes.stop
        answer = [
            shard._replace(interval_count=ANSWERS_REPAIR)
            for shard in parity_shards(self._code, data, indexes)
        ]
        self._totals.answer_queued(answer)
        self._pacer.push_first(map(encode_video, answer))

    def clear(self) -> None:
        """A session has ended: what waits is not for the next one, and nobody can ask for what was sent."""
        self._pacer.clear()
        self.path = PathRate(self._max_bitrate_kbps)
        self._sent.clear()
        self._sent_bytes = 0

    # --- outputs ---

    def poll(self, now_us: int, session: Session) -> list[bytes]:
        """The datagrams whose time has come, sealed."""
        self._pacer.set_path_rate(self.path.carries_bps)
        due = self._pacer.poll(now_us)
        if not due:
            return []
        self._totals.shards_sent([plaintext for _, plaintext in due])
        first_number = session.main_next
        datagrams = [session.seal(Channel.MAIN, plaintext) for _, plaintext in due]
        sizes = [len(datagram) + IP_UDP_BYTES for datagram in datagrams]
        self.path.handle_sent(now_us, first_number, [frame_id for frame_id, _ in due], sizes)
        return datagrams

    def poll_timeout(self) -> int | None:
        return self._pacer.poll_timeout()

    @property
    def idle(self) -> bool:
        return self._pacer.idle

    @property
    def frames_dropped(self) -> int:
        return self._pacer.frames_dropped

    # --- inside ---

    def _queue_stands(self, now_us: int) -> bool:
        stands = self.path.queue_us(now_us) >= STANDING_QUEUE_US
        self._totals.handle_queue(stands=stands)
        return stands

    def _keep(self, frame_id: int, frame: _SentFrame) -> None:
        self._sent[frame_id & 0xFFFFFFFF] = frame
        self._sent_bytes += frame.size_bytes
        while len(self._sent) > FRAMES_KEPT or (self._sent_bytes > BYTES_KEPT and len(self._sent) > 1):
            self._sent_bytes -= self._sent.popitem(last=False)[1].size_bytes


def _rounds(time_left_us: int, round_trip: RoundTrip) -> int:
    """How often a receiver can ask and be answered in the time that is left after a first arrival."""
    return max(0, min(time_left_us // (round_trip.smoothed_rtt_us + ROUND_OVERHEAD_US), ROUNDS_MAX))
