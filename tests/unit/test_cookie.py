"""Cookies: whose they are and how long they last."""

import pytest

from tests.handshaking import entropy
from udpconf.limits import COOKIE_LIFE_US, COOKIE_SECRET_ROTATION_US, SECOND
from udpconf.proto.cookie import CookieJar, ip_bytes
from udpconf.proto.events import Address

NOW_US = 5_000 * SECOND
ADDRESS: Address = ("198.51.100.7", 40_000)
ID = b"8 bytes!"
SHARE = bytes(range(32))


def jar_and_cookie() -> tuple[CookieJar, bytes]:
    jar = CookieJar(NOW_US, entropy(1))
    return jar, jar.bake(NOW_US, ADDRESS, ID, SHARE)


@pytest.mark.parametrize(("age_s", "good"), [(0, True), (9, True), (10, True), (11, False), (3600, False)])
def test_a_cookie_is_good_for_ten_seconds(age_s: int, good: bool) -> None:
    assert COOKIE_LIFE_US == 10 * SECOND
    jar, cookie = jar_and_cookie()
    assert jar.accepts(NOW_US + age_s * SECOND, cookie, ADDRESS, ID, SHARE) is good


def test_a_cookie_from_the_future_is_not_ours() -> None:
    jar, cookie = jar_and_cookie()
    assert not jar.accepts(NOW_US - 1 * SECOND, cookie, ADDRESS, ID, SHARE)


@pytest.mark.parametrize(
    ("address", "connection_id", "share"),
    [
        (("198.51.100.8", 40_000), ID, SHARE),
        (("198.51.100.7", 40_001), ID, SHARE),
        (("2001:db8::1", 40_000, 0, 0), ID, SHARE),
        (ADDRESS, b"8 bytes?", SHARE),
        (ADDRESS, ID, bytes(32)),
    ],
)
def test_a_cookie_works_for_one_address_one_id_and_one_share(
    address: Address, connection_id: bytes, share: bytes
) -> None:
    jar, cookie = jar_and_cookie()
    assert not jar.accepts(NOW_US, cookie, address, connection_id, share)


def test_every_bit_of_a_cookie_counts() -> None:
    jar, cookie = jar_and_cookie()
    assert jar.accepts(NOW_US, cookie, ADDRESS, ID, SHARE)
    for bit in range(len(cookie) * 8):
        flipped = bytearray(cookie)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not jar.accepts(NOW_US, bytes(flipped), ADDRESS, ID, SHARE), f"bit {bit}"


def test_a_cookie_outlives_a_change_of_the_secret() -> None:
    jar, _ = jar_and_cookie()
    last = NOW_US + COOKIE_SECRET_ROTATION_US - 1
    cookie = jar.bake(last, ADDRESS, ID, SHARE)
    assert jar.accepts(last + 5 * SECOND, cookie, ADDRESS, ID, SHARE)
    newer = jar.bake(last + 5 * SECOND, ADDRESS, ID, SHARE)
    assert newer[4:8] != cookie[4:8]
    assert jar.accepts(last + 5 * SECOND, newer, ADDRESS, ID, SHARE)


@pytest.mark.parametrize(("age_us", "same"), [(-1, True), (0, False), (1, False)])
def test_the_secret_changes_after_two_minutes(age_us: int, same: bool) -> None:
    jar, cookie = jar_and_cookie()
    later = jar.bake(NOW_US + COOKIE_SECRET_ROTATION_US + age_us, ADDRESS, ID, SHARE)
    assert (later[4:8] == cookie[4:8]) is same


def test_another_boots_cookie_is_worth_nothing() -> None:
    _, cookie = jar_and_cookie()
    assert not CookieJar(NOW_US, entropy(2)).accepts(NOW_US, cookie, ADDRESS, ID, SHARE)


def test_an_ipv4_address_is_itself_whether_mapped_or_not_and_a_scope_does_not_matter() -> None:
    assert ip_bytes(("198.51.100.7", 1)) == ip_bytes(("::ffff:198.51.100.7", 2, 0, 0))
    assert ip_bytes(("fe80::1%eth0", 1, 0, 2)) == ip_bytes(("fe80::1", 1, 0, 3))
    assert len(ip_bytes(("::1", 1, 0, 0))) == 16
