"""Handshakes in virtual time over links that lose, duplicate, reorder and delay."""

import pytest

from tests.handshaking import Corridor, established, keys_fit, knock, listen, room
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import Bernoulli
from udpconf.limits import MS, SECOND
from udpconf.proto.events import ClientRefused
from udpconf.wire.handshake import RETRY, Reject, RejectReason, encode_reject

SEEDS = range(40)


def shake(seed: int, up: LinkConditions, down: LinkConditions, *, within_us: int) -> Corridor:
    """A handshake that must succeed, with both sides holding the same keys."""
    corridor = Corridor(knock(seed=f"{seed}/c"), listen(seed=f"{seed}/l"), seed=seed, up=up, down=down)
    corridor.run(within_us)
    session = corridor.client.established
    assert session is not None, f"seed {seed}: {corridor.client.failure}, {corridor.listener.counters}"
    half_open = corridor.listener.find(session.session_id)
    assert half_open is not None, f"seed {seed}"
    assert keys_fit(session.keys, half_open.keys), f"seed {seed}"
    assert corridor.listener.poll_refused() is None, f"seed {seed}: the right key was taken for a wrong one"
    return corridor


def test_on_a_good_link_a_handshake_takes_two_round_trips_and_two_hellos() -> None:
    good = LinkConditions(delay_us=10 * MS)
    corridor = shake(1, good, good, within_us=1 * SECOND)
    assert corridor.now_us == 40 * MS
    assert corridor.hellos_sent == 2
    assert established(corridor.client).rtt_us == 20 * MS


@pytest.mark.parametrize(("loss", "within_us"), [(0.02, 2 * SECOND), (0.1, 3 * SECOND), (0.3, 9 * SECOND)])
def test_loss_delays_a_handshake_and_does_not_prevent_it(loss: float, within_us: int) -> None:
    lossy = LinkConditions(delay_us=25 * MS, loss=Bernoulli(loss))
    for seed in SEEDS:
        shake(seed, lossy, lossy, within_us=within_us)


def test_duplicates_and_reordering_do_not_confuse_a_handshake() -> None:
    messy = LinkConditions(
        delay_us=20 * MS,
        jitter_us=150 * MS,
        keep_order=False,
        loss=Bernoulli(0.05),
        reorder=0.3,
        reorder_us=200 * MS,
        duplicate=0.5,
    )
    for seed in SEEDS:
        corridor = shake(seed, messy, messy, within_us=9 * SECOND)
        assert len(corridor.listener) <= 2, f"seed {seed}"


def test_a_handshake_by_satellite_with_750_ms_each_way_succeeds() -> None:
    slow = LinkConditions(delay_us=750 * MS, jitter_us=100 * MS)
    for seed in SEEDS:
        corridor = shake(seed, slow, slow, within_us=4 * SECOND)
        assert established(corridor.client).rtt_us >= 1500 * MS


def test_a_dead_link_is_tried_for_ever_and_never_called_a_failure() -> None:
    dead = LinkConditions(loss=Bernoulli(1.0))
    corridor = Corridor(knock(), listen(), up=dead)
    corridor.run(60 * SECOND)
    assert corridor.client.failure is None
    assert 55 <= corridor.hellos_sent <= 90


@pytest.mark.parametrize("delay_us", [1 * MS, 10 * MS, 45 * MS])
def test_a_wrong_passphrase_shows_within_ten_round_trips(delay_us: int) -> None:
    link = LinkConditions(delay_us=delay_us)
    corridor = Corridor(knock(passphrase="wrong"), listen(), up=link, down=link)
    corridor.run(60 * SECOND)
    assert corridor.client.failure == "refused"
    assert corridor.now_us == 6 * 2 * delay_us
    assert corridor.listener.counters["accepted"] == 3
    assert corridor.listener.poll_refused() == ClientRefused(("198.51.100.7", 40_000))


def test_a_wrong_passphrase_shows_on_a_bad_link_too() -> None:
    lossy = LinkConditions(delay_us=25 * MS, jitter_us=50 * MS, loss=Bernoulli(0.1), duplicate=0.2)
    for seed in SEEDS:
        client = knock(passphrase="wrong", seed=f"{seed}/c")
        corridor = Corridor(client, listen(seed=f"{seed}/l"), seed=seed, up=lossy, down=lossy)
        corridor.run(10 * SECOND)
        assert client.failure == "refused", f"seed {seed}: {corridor.listener.counters}"
        assert corridor.listener.poll_refused() is not None, f"seed {seed}: the server did not notice"


def test_someone_who_mistyped_twice_gets_in_at_the_third_go_without_waiting_long() -> None:
    listener = listen()
    link = LinkConditions(delay_us=5 * MS)
    for go in range(2):
        corridor = Corridor(knock(passphrase="wrong", seed=go), listener, seed=go, up=link, down=link)
        corridor.run(8 * SECOND)
        assert corridor.client.failure == "refused", go
    corridor = Corridor(knock(seed=3), listener, seed=3, up=link, down=link)
    corridor.run(8 * SECOND)
    assert established(corridor.client)


def test_a_reject_forged_beside_every_honest_reply_does_not_keep_anybody_out() -> None:
    corridor = Corridor(knock(), listen())

    def with_forgery(data: bytes) -> list[bytes]:
        forged = encode_reject(Reject(RejectReason.FULL, data[4:12]), room().mac1_key)
        return [forged, data]

    corridor.on_way_down = with_forgery
    corridor.run(1 * SECOND)
    assert established(corridor.client)


def test_an_accept_forged_ahead_of_every_honest_one_does_not_keep_anybody_out() -> None:
    corridor = Corridor(knock(), listen())

    def with_forgery(data: bytes) -> list[bytes]:
        if data[0] == RETRY:
            return [data]
        return [data[:-1] + bytes((data[-1] ^ 1,)), data]

    corridor.on_way_down = with_forgery
    corridor.run(1 * SECOND)
    assert established(corridor.client)


def test_a_client_whose_accepts_all_vanish_for_two_seconds_is_in_soon_after() -> None:
    corridor = Corridor(knock(), listen())
    blocked_until_us = 2 * SECOND
    corridor.on_way_down = lambda data: (
        [] if data[0] != RETRY and corridor.now_us < blocked_until_us else [data]
    )
    corridor.run(5 * SECOND)
    assert established(corridor.client)
    assert corridor.now_us <= 5 * SECOND


def test_a_server_that_restarts_between_cookie_and_accept_only_costs_time() -> None:
    corridor = Corridor(knock(), listen(seed="before"))
    corridor.run(15 * MS)
    corridor.listener = listen(seed="after")
    corridor.run(2 * SECOND)
    assert established(corridor.client)
    assert corridor.listener.counters["stale cookie"] >= 1
