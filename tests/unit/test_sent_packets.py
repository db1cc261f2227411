"""Of each packet that left it is known when, after how many bytes, and with which picture."""

from udpconf.limits import SECOND
from udpconf.proto.sent_packets import REMEMBERED_US, Picture, Place, SentPackets

START = (1 << 32) - 3  # the numbers' low 32 bits wrap


def test_a_picture_reaches_from_its_first_packet_to_its_last_whatever_leaves_meanwhile() -> None:
    sent = SentPackets()
    sent.handle_sent(100, START, [None, 7, 7], 300)
    sent.handle_sent(200, START + 3, [None, 7], 200)
    sent.handle_sent(300, START + 6, [None, 8], 200)  # a packet of something else before
    low32 = [number & 0xFFFFFFFF for number in range(START, START + 8)]
    seventh, eighth = Picture(7, START + 1, START + 4, 100), Picture(8, START + 7, START + 7, 300)
    assert [sent.picture(number) for number in low32] == [None, *[seventh] * 4, None, None, eighth]
    assert seventh.packets == 4


def test_a_place_counts_all_bytes_that_were_sent_before() -> None:
    sent = SentPackets()
    sent.handle_sent(100, START, [1, 1], 300)
    sent.handle_sent(200, START + 3, [1], 1000)
    assert sent.total_bytes == 1300
    low32 = [number & 0xFFFFFFFF for number in range(START - 1, START + 5)]
    places = [Place(START, 100, 150), Place(START + 1, 100, 300), None, Place(START + 3, 200, 1300)]
    assert [sent.place(number) for number in low32] == [None, *places, None]


def test_what_left_long_ago_is_forgotten_by_its_time() -> None:
    sent = SentPackets()
    for nth in range(2000):
        sent.handle_sent(nth * 10_000, nth, [nth], 1000)
    newest_us = 1999 * 10_000
    oldest = (newest_us - REMEMBERED_US) // 10_000
    assert sent.place(oldest - 1) is None
    assert sent.picture(oldest - 1) is None
    assert sent.place(oldest) is not None
    assert sent.picture(oldest) is not None


def test_the_interval_is_that_of_the_last_pictures() -> None:
    sent = SentPackets()
    assert sent.picture_interval_us == 0
    for nth in range(40):
        sent.handle_sent(nth * SECOND // 5, 2 * nth, [nth], 1000)
        sent.handle_sent(nth * SECOND // 5 + 50_000, 2 * nth + 1, [nth], 1000)
    assert sent.picture_interval_us == SECOND // 5


def test_nothing_is_known_before_anything_was_sent() -> None:
    assert SentPackets().place(0) is None
    assert SentPackets().picture(0) is None


def test_a_picture_s_last_packet_is_as_short_as_it_is() -> None:
    sent = SentPackets()
    sent.handle_sent(100, 0, [1], 700)
    sent.handle_sent(200, 1, [2, 2, 2], [1400, 1400, 200])
    assert sent.total_bytes == 3700
    assert [sent.place(number) for number in (1, 2, 3)] == [
        Place(1, 200, 2100),
        Place(2, 200, 3500),
        Place(3, 200, 3700),
    ]


def test_up_to_a_packet_of_something_else_all_that_left_before_counts() -> None:
    sent = SentPackets()
    assert sent.bytes_through(0) == 0
    sent.handle_sent(100, START, [1, 1], 300)
    sent.handle_sent(200, START + 5, [2], 1000)
    low32 = [number & 0xFFFFFFFF for number in range(START - 1, START + 8)]
    through = [sent.bytes_through(number) for number in low32]
    assert through == [0, 150, 300, 300, 300, 300, 1300, 1300, 1300]
