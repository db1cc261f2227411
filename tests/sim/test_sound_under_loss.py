"""Sound alone on bad paths, in virtual time: what is concealed, how late it is heard, and at what price."""

import pytest

from tests.sim.stories import Conditions, Media, Run, play
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import Bernoulli, LossModel, loss_model
from udpconf.limits import MS

SECONDS = 60
UDP_IP_BYTES = 28
SOUND = Media(kbps=0, sound=True)


@pytest.mark.parametrize("keep_order", [True, False])
@pytest.mark.parametrize(
    ("loss", "concealed", "delay_ms"),
    [(Bernoulli(0.2), 0.01, 90), (loss_model(0.1, 5.0), 0.04, 118)],
    ids=["20 %", "10 % in bursts"],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_it_gets_through(
    seed: int, loss: LossModel, concealed: float, delay_ms: float, keep_order: bool
) -> None:
    path = LinkConditions(delay_us=20 * MS, jitter_us=30 * MS, keep_order=keep_order, loss=loss)
    call = play([Conditions(path), SOUND, Run(s=SECONDS)], seed=seed).calls["cam"]
    assert call.sounds_concealed <= concealed * call.sounds_captured
    assert call.sound_delay_ms <= delay_ms
    payload = call.bytes_sent("sound") - UDP_IP_BYTES * call.sounds_captured
    assert payload * 8 / SECONDS <= 130_000


def test_where_nothing_is_lost_nothing_is_sent_twice_after_the_first_seconds() -> None:
    call = play([Conditions("clean-lan"), SOUND, Run(s=20)]).calls["cam"]
    # 32 kbit/s of Opus for 5 s and 64 from then on, and 35 bytes of headers and tag a packet; one copy for some 3 s.
    payload = call.bytes_sent("sound") - UDP_IP_BYTES * call.sounds_captured
    assert payload * 8 / 20 <= 90_000


def test_after_the_losses_the_delay_comes_down_again() -> None:
    bad = LinkConditions(delay_us=20 * MS, jitter_us=30 * MS, loss=loss_model(0.1, 5.0))
    good = LinkConditions(delay_us=20 * MS)
    call = play([Conditions(bad), SOUND, Run(s=20), Conditions(good), Run(s=10)], seed=3).calls["cam"]
    assert call.sound_delay_ms <= 40


@pytest.mark.parametrize(("sound_ms", "concealed", "delay_ms"), [(5, 0.02, 75), (20, 0.015, 100)])
def test_shorter_and_longer_frames_get_through_within_the_same_bytes(
    sound_ms: int, concealed: float, delay_ms: float
) -> None:
    path = LinkConditions(delay_us=20 * MS, jitter_us=30 * MS, loss=Bernoulli(0.1))
    call = play([Conditions(path), Media(kbps=0, sound_ms=sound_ms), Run(s=20)], seed=1).calls["cam"]
    assert call.sounds_captured * sound_ms >= 20_000
    assert call.sounds_concealed <= concealed * call.sounds_captured
    assert call.sound_delay_ms <= delay_ms
    payload = call.bytes_sent("sound") - UDP_IP_BYTES * call.sounds_captured
    assert payload * 8 / 20 <= 120_000
