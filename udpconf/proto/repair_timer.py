"""When a frame's missing shards are asked for: once nothing more is likely to come by itself, while an answer still helps."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from udpconf.limits import MS, SECOND
from udpconf.proto.reassembly import OpenFrame
from udpconf.proto.rtt import RoundTrip
from udpconf.wire.frames import Repair

# A frame's datagrams are sent back to back; what is behind a gap of this long is lost or has been overtaken. Less would
# take our own scheduling for loss.
SETTLE_MIN_US = 2 * MS
# Most gaps are shorter than this, and then nothing depends on how long they are.
GAP_MIN_US = SETTLE_MIN_US // 2
# On a narrow or jittery path the gaps are longer; beyond this they tell of a pause, not of a path.
SETTLE_MAX_US = 50 * MS
# The longest gap within a frame is forgotten by two thirds in so long; by a quarter at most from one frame to the next, so that
# one and a half times what is left still covers a gap that each frame has.
GAP_LASTS_US = 1 * SECOND
_FRAMES_APART_MAX_US = GAP_LASTS_US // 4
# A frame that can only lose by waiting, as it is too late to ask, is shown with its holes when it has been quiet for half as long
# again as the longest gap of so long. Asking too early costs a few bytes, showing too early costs the picture.
GAPS_WINDOW_US = 4 * SECOND  # at most one of 120 frames then has a longer one
# A frame for which even the rest of it would not be enough, with as much parity as the best of so many frames had, is shown
# when the next request would be due.
PARITY_KNOWN_FRAMES = 8
# A frame is asked for so often; half as often, before that, while nothing of it has come: perhaps nobody sent it.
ASKED_MAX = 4
# An answer is given this time at least: the other end is a program on a busy machine.
ANSWER_MIN_US = 10 * MS
# Requests of one moment; more than this are missing only if somebody made that up.
REQUESTS_AT_ONCE_MAX = 64
# Of a frame of which nothing has come nobody knows how much there is; the sender does.
ALL_SHARDS = 255
# So many frames that nobody has seen are asked for at a time; when more are gone it is an outage, and the newest matter.
UNSEEN_MAX = 8
# What the answer needs beyond a round trip: both ends have to wake up.
ANSWER_MARGIN_US = 1 * MS


class RepairTimer:
    """Decides for the open frames of one stream. Without a measured round trip nothing is asked for.

    Attributes:
        settle_us: so long after a frame's last arrival its next one is still waited for.
    """

    def __init__(self, round_trip: RoundTrip) -> None:
        self._round_trip = round_trip
        self.settle_us = SETTLE_MIN_US
        self._gap_us = 0
        self._forgot_us = 0  # when some of it was last forgotten
        self._gaps: deque[tuple[int, int]] = (
            deque()
        )  # when and how long, both falling: the first is the longest
        self._parity: deque[tuple[int, int]] = (
            deque()
        )  # frame id and how many, both falling: the first has the most
        self._begun = False
        self._unseen: dict[int, _Unseen] = {}  # by frame id

    def handle_shard(self, now_us: int, frame: OpenFrame, before_us: int, *, answers_repair: bool) -> None:
        """The frame has one more shard.

        Args:
            now_us: when it came.
            frame: with the shard.
            before_us: when the one before it came that was sent unasked; 0: there was none.
            answers_repair: it was asked for. While it is, stragglers of the first send do not matter.
        """
        if not answers_repair:
            if not before_us:
                self._forget_gap(now_us)
            elif now_us - before_us >= GAP_MIN_US:
                self._note_gap(now_us, now_us - before_us)
        frame.settled_at_us = None
        if frame.complete:
            frame.ask_at_us = None
        elif (answers_repair or not frame.repairs_asked) and self._round_trip.latest_rtt_us is not None:
            frame.ask_at_us = now_us + self.settle_us

    def handle_parity(self, frame_id: int, place: int) -> None:
        """The first, second, ... parity shard of a block has come, however little it was needed."""
        parity = self._parity
        while parity and parity[-1][1] <= place:
            parity.pop()
        parity.append((frame_id, place))

    def handle_straggler(self, now_us: int, gap_us: int) -> None:
        """It came so long after the one sent before it, and its frame had been shown."""
        self._note_gap(now_us, gap_us)

    def handle_skipped(self, now_us: int, deadlines_us: Mapping[int, int]) -> None:
        """A frame has come, and of these before it, by their ids, nothing has."""
        if self._round_trip.latest_rtt_us is None:
            return
        for frame_id, deadline_us in deadlines_us.items():
            self._unseen[frame_id] = _Unseen(now_us + self.settle_us, deadline_us)
        while len(self._unseen) > UNSEEN_MAX:
            del self._unseen[next(iter(self._unseen))]

    def handle_seen(self, frame_id: int) -> None:
        """Something of it has come after all, or it has been shown without."""
        self._unseen.pop(frame_id, None)

    def due(self, now_us: int, frames: Iterable[OpenFrame]) -> Iterator[Repair]:
        """The requests whose time has come; none where the answers would come too late, and then the frame is settled."""
        for frame in frames:
            if frame.ask_at_us is not None and frame.ask_at_us <= now_us:
                time_left_us = frame.deadline_us - now_us
                frame.ask_at_us = self._again_us(now_us, time_left_us, frame.repairs_asked, ASKED_MAX)
                if frame.ask_at_us is not None:
                    frame.repairs_asked += 1
                    for block, missing in frame.missing_shards():
                        yield Repair(frame.frame_id, block, missing, time_left_us)
                elif not frame.repairs_asked:
                    frame.settled_at_us = self._settled_at_us(now_us, frame)
                elif frame.repairs_asked >= ASKED_MAX:  # and the last answer has had its time
                    frame.settled_at_us = now_us
        for frame_id, unseen in list(self._unseen.items()):
            if unseen.ask_at_us <= now_us:
                time_left_us = unseen.deadline_us - now_us
                again_us = self._again_us(now_us, time_left_us, unseen.repairs_asked, ASKED_MAX // 2)
                if again_us is None:
                    del self._unseen[frame_id]
                else:
                    unseen.ask_at_us = again_us
                    unseen.repairs_asked += 1
                    yield Repair(frame_id, 0, ALL_SHARDS, time_left_us)

    def poll_timeout(self, frames: Iterable[OpenFrame], at_us: int) -> int:
        """When ``due`` has something next, or at_us if that is earlier."""
        for frame in frames:
            ask_at_us = frame.ask_at_us
            if ask_at_us is not None and ask_at_us < at_us:
                at_us = ask_at_us
        if self._unseen:
            at_us = min(at_us, *(unseen.ask_at_us for unseen in self._unseen.values()))
        return at_us

    def _settled_at_us(self, now_us: int, frame: OpenFrame) -> int:
        """When a frame is shown that it is too late to ask for, unless something comes."""
        if not frame.may_become_whole(self._parity_known(frame.frame_id)):
            return now_us
        return frame.first_send_us + max(SETTLE_MIN_US, self._longest_gap_us(now_us) * 3 // 2)

    def _parity_known(self, frame_id: int) -> int:
        """The most parity that one of the frames just before had; a sender that stops sending it is believed."""
        parity = self._parity
        while parity and parity[0][0] < frame_id - PARITY_KNOWN_FRAMES:
            parity.popleft()
        return parity[0][1] if parity else 0

    def _forget_gap(self, now_us: int) -> None:
        """A frame's first datagram has come."""
        if not self._begun:  # nothing is known as yet, so nothing is shown early
            self._begun = True
            self._gaps.append((now_us, SETTLE_MAX_US))
        apart_us = min(max(0, now_us - self._forgot_us), _FRAMES_APART_MAX_US)
        self._forgot_us = now_us
        self._set_gap(self._gap_us - self._gap_us * apart_us // GAP_LASTS_US)

    def _note_gap(self, now_us: int, gap_us: int) -> None:
        """A gap within a frame has ended."""
        if gap_us > self._gap_us:  # bounded, or a long pause would be remembered longer than any path's gap
            self._set_gap(min(gap_us, SETTLE_MAX_US))
        gaps = self._gaps
        while gaps and gaps[-1][1] <= gap_us:
            gaps.pop()
        gaps.append((now_us, gap_us))

    def _longest_gap_us(self, now_us: int) -> int:
        gaps = self._gaps
        while gaps and gaps[0][0] < now_us - GAPS_WINDOW_US:
            gaps.popleft()
        return gaps[0][1] if gaps else 0

    def _set_gap(self, gap_us: int) -> None:
        self._gap_us = gap_us
        self.settle_us = min(max(SETTLE_MIN_US, gap_us * 3 // 2), SETTLE_MAX_US)

    def _again_us(self, now_us: int, time_left_us: int, asked: int, asked_max: int) -> int | None:
        """When to ask once more if nothing comes; None: it is too late to ask even now, or it was asked often enough."""
        round_trip = self._round_trip
        if asked >= asked_max or time_left_us < round_trip.smoothed_rtt_us + ANSWER_MARGIN_US:
            return None
        return now_us + max(round_trip.timeout_us, ANSWER_MIN_US) + self.settle_us


class _Unseen:
    """A frame of which nothing has come."""

    __slots__ = ("ask_at_us", "deadline_us", "repairs_asked")

    def __init__(self, ask_at_us: int, deadline_us: int) -> None:
        self.ask_at_us = ask_at_us
        self.deadline_us = deadline_us
        self.repairs_asked = 0
