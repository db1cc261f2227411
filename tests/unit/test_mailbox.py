"""Mailboxes keep their bound, count what they drop, and wake whoever waits."""

import threading

from udpconf.net.mailbox import BoundedQueue, FairMailbox


def test_a_bounded_queue_drops_the_oldest_and_keeps_the_order() -> None:
    queue: BoundedQueue[int] = BoundedQueue(3)
    for item in range(5):
        queue.put(item)
    assert [queue.get(0) for _ in range(4)] == [2, 3, 4, None]
    assert queue.dropped == 2


def test_a_fair_mailbox_serves_its_keys_in_turn() -> None:
    box: FairMailbox[str, int] = FairMailbox(3)
    for item in range(3):
        box.put("loud", item)
    box.put("quiet", 7)
    assert [box.get(0) for _ in range(5)] == [("loud", 0), ("quiet", 7), ("loud", 1), ("loud", 2), None]


def test_a_fair_mailbox_drops_only_from_the_key_that_is_full() -> None:
    box: FairMailbox[str, int] = FairMailbox(1)
    box.put("quiet", 7)
    for item in range(10):
        box.put("loud", item)
    assert box.get(0) == ("quiet", 7)
    assert box.get(0) == ("loud", 9)
    assert (box.dropped("loud"), box.dropped("quiet")) == (9, 0)


def test_a_forgotten_key_is_served_to_its_end_and_leaves_no_counter() -> None:
    box: FairMailbox[str, int] = FairMailbox(1)
    box.put("gone", 1)
    box.put("gone", 2)
    box.put("here", 3)
    box.forget("gone")
    box.forget("never there")
    assert box.dropped("gone") == 0
    assert [box.get(0), box.get(0), box.get(0)] == [("gone", 2), ("here", 3), None]


def test_a_closed_mailbox_gives_what_is_left_and_then_nothing_without_waiting() -> None:
    queue: BoundedQueue[int] = BoundedQueue(2)
    fair: FairMailbox[str, int] = FairMailbox(2)
    queue.put(1)
    fair.put("a", 1)
    queue.close()
    fair.close()
    assert (queue.get(), fair.get()) == (1, ("a", 1))
    assert (queue.get(), fair.get()) == (None, None)
    assert not queue.put(2)
    assert not fair.put("a", 2)


def test_put_and_close_wake_a_waiting_thread() -> None:
    queue: BoundedQueue[str] = BoundedQueue(2)
    got: list[str | None] = []

    def wait_twice() -> None:
        got.append(queue.get())
        got.append(queue.get(timeout=60))

    waiting = threading.Thread(target=wait_twice)
    waiting.start()
    queue.put("item")
    while not got:
        waiting.join(0.001)
    queue.close()
    waiting.join()
    assert got == ["item", None]


def test_no_item_is_lost_or_doubled_between_several_threads() -> None:
    queue: BoundedQueue[int] = BoundedQueue(1000)
    got: list[list[int]] = [[], [], []]

    def fetch(mine: list[int]) -> None:
        while (item := queue.get()) is not None:
            mine.append(item)

    fetching = [threading.Thread(target=fetch, args=(mine,)) for mine in got]
    putting = [
        threading.Thread(target=lambda start=start: [queue.put(start + index) for index in range(300)])
        for start in (1, 301, 601)
    ]
    for thread in fetching + putting:
        thread.start()
    for thread in putting:
        thread.join()
    queue.close()
    for thread in fetching:
        thread.join()
    assert sorted(got[0] + got[1] + got[2]) == list(range(1, 901))


def test_every_waiting_thread_hears_the_close() -> None:
    box: BoundedQueue[int] = BoundedQueue(1)
    ended: list[int | None] = []
    waiting = [threading.Thread(target=lambda: ended.append(box.get())) for _ in range(4)]
    for thread in waiting:
        thread.start()
    box.close()
    for thread in waiting:
        thread.join()
    assert ended == [None] * 4
