"""Opus frames into packets with a copy of the one before, and back, each told once."""

import random

from udpconf.limits import MS
from udpconf.proto.audio_packets import REMEMBERED, AudioDepacketizer, AudioPacketizer, NewAudio
from udpconf.proto.sound_redundancy import Redundancy
from udpconf.wire.frames import AudioPacket

START_US = 1_000_000
ONE = Redundancy((1,))


def packets(count: int, *, first_us: int = START_US, redundancy: Redundancy = ONE) -> list[AudioPacket]:
    packetizer = AudioPacketizer()
    return [packetizer.packetize(b"%d" % n, first_us + n * 10 * MS, redundancy) for n in range(count)]


def hear(depacketizer: AudioDepacketizer, packet: AudioPacket) -> list[NewAudio]:
    return depacketizer.handle_packet(
        packet._replace(sequence_number=packet.sequence_number & 0xFFFF), packet.capture_us
    )


def test_each_packet_repeats_the_frame_before() -> None:
    first, second = packets(2)
    assert [block.data for block in first.blocks] == [b"0"]
    assert [(block.distance, block.data) for block in second.blocks] == [(0, b"1"), (1, b"0")]


def test_it_repeats_as_many_as_it_is_told_that_far_apart() -> None:
    packet = packets(20, redundancy=Redundancy((2, 4, 6)))[-1]
    assert [(block.distance, block.data) for block in packet.blocks] == [
        (0, b"19"),
        (2, b"17"),
        (4, b"15"),
        (6, b"13"),
    ]
    assert [block.distance for block in packets(4, redundancy=Redundancy((2, 4, 6)))[-1].blocks] == [0, 2]
    assert [block.distance for block in packets(4, redundancy=Redundancy(()))[-1].blocks] == [0]


def test_copies_further_apart_bring_their_own_times() -> None:
    depacketizer = AudioDepacketizer()
    sent = packets(8, redundancy=Redundancy((3, 6)))
    hear(depacketizer, sent[0])
    told = hear(depacketizer, sent[7])
    assert [(new.sequence_number, new.capture_us, new.data) for new in told] == [
        (number, START_US + number * 10 * MS, b"%d" % number) for number in (1, 4, 7)
    ]


def test_after_a_pause_the_old_frame_is_not_repeated() -> None:
    packetizer = AudioPacketizer()
    packetizer.packetize(b"before", START_US, ONE)
    packet = packetizer.packetize(b"after", START_US + 500 * MS, ONE)
    assert [block.data for block in packet.blocks] == [b"after"]


def test_a_single_loss_is_mended_by_the_next_packet_with_its_own_time() -> None:
    depacketizer = AudioDepacketizer()
    sent = packets(3)
    hear(depacketizer, sent[0])
    assert hear(depacketizer, sent[2]) == [
        NewAudio(1, START_US + 10 * MS, b"1", True),
        NewAudio(2, START_US + 20 * MS, b"2", False),
    ]
    assert depacketizer.counters.frames_from_copies == 1


def test_numbers_that_wrap_and_packets_out_of_order_are_told_once_each() -> None:
    depacketizer = AudioDepacketizer()
    sent = packets(70_000)
    rng = random.Random(4)
    for at in range(0, len(sent) - 4, 4):
        if rng.random() < 0.01:
            sent[at : at + 4] = rng.sample(sent[at : at + 4], 4)
    told = [new.sequence_number for packet in sent for new in hear(depacketizer, packet)]
    assert sorted(told) == list(range(70_000))
    counters = depacketizer.counters
    assert (
        counters.frames_received == counters.frames_used + counters.frames_duplicate + counters.frames_refused
    )


def test_a_frame_older_than_any_buffer_is_refused() -> None:
    depacketizer = AudioDepacketizer()
    sent = packets(REMEMBERED + 2)
    hear(depacketizer, sent[-1])
    assert hear(depacketizer, sent[0]) == []
    assert depacketizer.counters.frames_refused == 1
