"""The public API over real sockets: pictures, sound, joins, the many ways a connection fails, and coming back."""

import itertools
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

import udpconf
from tests.loopback.waiting import PATIENCE_S, wait_until
from udpconf.app import connection
from udpconf.media.native import av
from udpconf.names import clean_name
from udpconf.net.udp_socket import UdpSocket

UNHURRIED_MS = 250
PASSPHRASE = "five plain words of test"
# Longer than anything here takes, so that a failure is a failure and not a slow machine.


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDPCONF_STRICT", "1")


def free_range(size: int = 4) -> tuple[int, int]:
    """Audio ports for one server, apart from those of tests that run at the same time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        low = min(int(probe.getsockname()[1]), 65535 - size)
    return low, low + size - 1


def serve(**more: Any) -> udpconf.Server:
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "passphrase": PASSPHRASE,
        "audio_ports": free_range(),
    }
    return udpconf.Server(**(settings | more))


def send(server: udpconf.Server, **more: Any) -> udpconf.Sender:
    settings: dict[str, Any] = {"passphrase": PASSPHRASE, "name": "cam-1"}
    return udpconf.Sender("127.0.0.1", server.port, **(settings | more))


def picture(number: int, width: int = 320, height: int = 192) -> NDArray[np.uint8]:
    """Smooth enough for JPEG; the number is in its brightness."""
    ramp = np.linspace(0, 60, width, dtype=np.float32)[None, :, None]
    return np.broadcast_to(ramp + number * 10 % 180, (height, width, 3)).astype(np.uint8)


class Filming:
    """Sends a picture every 10 ms until told to stop."""

    def __init__(self, sender: udpconf.Sender, make: Callable[[int], NDArray[np.uint8]] = picture) -> None:
        self._sender, self._make = sender, make
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for number in itertools.count():
            self._sender.send_video(self._make(number))
            if self._stop.wait(0.01):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[udpconf.Server]:
    with serve() as running:
        yield running


def test_a_picture_arrives_as_it_was_sent(server: udpconf.Server) -> None:
    feed = server.frames(timeout=PATIENCE_S)
    with send(server) as sender:
        image = picture(3)
        before_us, before_s = time.monotonic_ns() // 1000, time.time()
        assert sender.send_video(image) == 0
        frame = next(feed)
        assert frame.frame_id == 0
        assert frame.image.shape == image.shape
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.writeable
        assert frame.image.flags.owndata
        assert np.abs(frame.image.astype(int) - image).mean() < 3
        assert frame.complete
        assert frame.fresh_area == 1.0
        assert 0 < frame.coded_size < image.nbytes
        assert frame.client == server.clients()[0]
        assert (frame.client.name, frame.client.address[0]) == ("cam-1", "127.0.0.1")
        assert len(frame.client.id) == 16
        # One machine, one clock: the offset that was measured must be nearly nothing.
        assert abs(frame.capture_us - before_us) < 50_000
        assert abs(frame.capture_time - before_s) < 0.1
        assert frame.received_us >= before_us


def test_the_size_may_change_and_grey_comes_as_three_channels(server: udpconf.Server) -> None:
    feed = server.frames(timeout=PATIENCE_S)
    # On a machine that stands still for a moment a frame may take longer than the path.
    with send(server, max_bitrate_kbps=100_000, latency_ms=UNHURRIED_MS) as sender:
        for image in (picture(1), picture(2, 640, 360)[:, ::-1], picture(3)[:, :, 0], picture(4, 33, 17)):
            sender.send_video(image)
            frame = next(feed)
            assert frame.image.shape == (*image.shape[:2], 3)
            expected = image if image.ndim == 3 else image[:, :, None]
            assert np.abs(frame.image.astype(int) - expected).mean() < 3


def test_lossless_pictures_arrive_bit_for_bit(server: udpconf.Server) -> None:
    feed = server.frames(timeout=PATIENCE_S)
    with send(server, codec="lz4", max_bitrate_kbps=1_000_000) as sender:
        image = picture(5)
        sender.send_video(image)
        assert np.array_equal(next(feed).image, image)


def test_the_capture_time_that_was_given_comes_out(server: udpconf.Server) -> None:
    feed = server.frames(timeout=PATIENCE_S)
    with send(server) as sender:
        capture_us = time.monotonic_ns() // 1000 - 30_000
        sender.send_video(picture(1), capture_us=capture_us)
        assert abs(next(feed).capture_us - capture_us) < 25_000


def test_frames_come_in_order_and_every_one_is_accounted_for(server: udpconf.Server) -> None:
    seen: list[int] = []
    feed = server.frames(timeout=0.5)
    with send(server, latency_ms=UNHURRIED_MS) as sender:
        with Filming(sender):
            for frame in feed:
                seen.append(frame.frame_id)
                if len(seen) == 50:
                    break
        assert seen == sorted(set(seen))
        client_id = server.clients()[0].id
        stats = server.stats()[client_id]
        sent = sender.stats()
    assert stats.video_delay_ms is not None
    assert 0 < stats.video_delay_ms < 1000
    assert stats.audio_delay_ms is None
    assert (stats.name, stats.frames_with_holes) == ("cam-1", 0)
    assert stats.frames_decoded + stats.frames_replaced >= len(seen)
    assert stats.frames_whole + stats.frames_skipped <= sent.frames_sent
    assert sent.state == "connected"
    assert sent.packets_sent > 50
    assert sent.quality > 0


def test_two_clients_of_one_name_are_kept_apart(server: udpconf.Server) -> None:
    feed = server.frames(timeout=PATIENCE_S)
    with send(server) as first, send(server) as second:
        wait_until(lambda: len(server.clients()) == 2)
        one, two = server.clients()
        assert one.name == two.name == "cam-1"
        assert one.id != two.id
        with (
            Filming(first, lambda number: np.full((64, 64, 3), 40, np.uint8)),
            Filming(second, lambda number: np.full((64, 64, 3), 200, np.uint8)),
        ):
            brightness: dict[str, set[int]] = {one.id: set(), two.id: set()}
            for frame in itertools.islice(feed, 40):
                brightness[frame.client.id].add(int(frame.image.mean()) // 100)
        assert sorted(map(sorted, brightness.values())) == [[0], [2]]


def test_a_loop_over_one_client_sees_only_that_one(server: udpconf.Server) -> None:
    with send(server, name="anne") as anne, send(server, name="ben") as ben:
        wait_until(lambda: len(server.clients()) == 2)
        wanted = next(client for client in server.clients() if client.name == "ben")
        feed = server.frames(timeout=PATIENCE_S, client=wanted)
        with Filming(anne), Filming(ben):
            assert {frame.client.name for frame in itertools.islice(feed, 10)} == {"ben"}


def test_joining_and_leaving_are_events(server: udpconf.Server) -> None:
    happened = server.events(timeout=PATIENCE_S)
    with send(server, name="anne\x1b[31m"):
        joined = next(happened)
        assert isinstance(joined, udpconf.ClientJoined)
        assert "\x1b" not in joined.client.name
        assert not joined.rejoined
        assert server.clients() == [joined.client]
    left = next(happened)
    assert isinstance(left, udpconf.ClientLeft)
    assert left.client == joined.client
    assert left.reason
    assert server.clients() == []


def test_who_is_there_when_the_server_closes_leaves_first() -> None:
    server = serve()
    happened = server.events()
    with send(server):
        joined = next(happened)
        assert isinstance(joined, udpconf.ClientJoined)
        server.close()
        assert list(happened) == [udpconf.ClientLeft(joined.client, "the server ends")]
        assert server.clients() == []
    server.close()


def test_closing_the_server_ends_the_iterations() -> None:
    server = serve()
    ended: list[object] = []
    feeds: list[Any] = [server.frames(), server.events(), server.audio()]
    threads = [threading.Thread(target=lambda feed=feed: ended.append(list(feed))) for feed in feeds]
    for thread in threads:
        thread.start()
    server.close()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert ended == [[], [], []]
    assert server.stats() == {}
    server.close()


def test_a_timeout_ends_the_iteration(server: udpconf.Server) -> None:
    assert list(server.frames(timeout=0.01)) == []
    assert list(server.events(timeout=0.01)) == []
    assert list(server.audio(timeout=0.01)) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_url_is_all_a_client_needs(host: str) -> None:
    with serve(host=host, passphrase=None) as server:
        assert server.url.startswith("udpconf://[::1]:" if host == "::1" else "udpconf://127.0.0.1:")
        assert server.passphrase is not None
        assert len(server.passphrase.split("-")) >= 5
        feed = server.frames(timeout=PATIENCE_S)
        with udpconf.Sender(server.url) as sender:
            sender.send_video(picture(1))
            assert next(feed).client.name == clean_name(socket.gethostname())


def test_a_server_on_both_families_shows_plain_ipv4_addresses() -> None:
    with serve(host="::") as server, send(server):
        wait_until(server.clients)
        assert server.clients()[0].address[0] == "127.0.0.1"


def test_a_name_with_several_addresses_is_tried_until_one_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with localhost and a server that listens on ::1 only."""
    monkeypatch.setattr(connection, "resolve", lambda host, port: [("127.0.0.1", port), ("::1", port, 0, 0)])
    with serve(host="::1") as server, send(server) as sender:
        assert sender.connected


def test_an_open_room_takes_anybody() -> None:
    with serve(passphrase=None, open=True) as server:
        assert "#" not in server.url
        with udpconf.Sender("127.0.0.1", server.port) as sender:
            assert sender.connected


def test_a_wrong_passphrase_is_refused_with_a_sentence(server: udpconf.Server) -> None:
    happened = server.events(timeout=PATIENCE_S)
    with pytest.raises(udpconf.ConnectError, match="passphrase") as refused:
        send(server, passphrase="something else")
    assert (refused.value.reason, refused.value.exit_code) == ("refused", 6)
    assert server.clients() == []
    event = next(happened)
    assert isinstance(event, udpconf.ClientRefused)
    assert event.address[0] == "127.0.0.1"


def test_a_dead_address_is_unreachable_with_a_sentence() -> None:
    closed = UdpSocket.listen("127.0.0.1", 0)
    port = closed.port
    closed.close()
    with pytest.raises(
        udpconf.ConnectError, match=f"No answer from 127.0.0.1, UDP port {port} within 0.3 s"
    ) as dead:
        udpconf.Sender("127.0.0.1", port, passphrase=PASSPHRASE, connect_timeout=0.3)
    assert (dead.value.reason, dead.value.exit_code) == ("unreachable", 5)


def test_a_host_that_does_not_exist_is_unreachable_with_a_sentence() -> None:
    with pytest.raises(udpconf.ConnectError, match=r"no-such-host\.invalid") as dead:
        udpconf.Sender("no-such-host.invalid", passphrase=PASSPHRASE)
    assert dead.value.reason == "unreachable"


def test_a_server_that_starts_a_second_later_is_found() -> None:
    reserved = UdpSocket.listen("127.0.0.1", 0)
    port = reserved.port
    reserved.close()
    late: list[udpconf.Server] = []
    timer = threading.Timer(1.0, lambda: late.append(serve(port=port)))
    timer.start()
    with udpconf.Sender("127.0.0.1", port, passphrase=PASSPHRASE, connect_timeout=PATIENCE_S) as sender:
        assert sender.connected
    timer.join()
    late[0].close()


def test_a_full_server_says_so() -> None:
    with serve(max_clients=1) as server, send(server):
        with pytest.raises(udpconf.ConnectError, match="full") as full:
            send(server)
        assert (full.value.reason, full.value.exit_code) == ("full", 6)


def test_a_busy_port_is_an_error_of_its_own(server: udpconf.Server) -> None:
    with pytest.raises(udpconf.PortInUseError, match=str(server.port)):
        serve(port=server.port)


def test_settings_out_of_range_are_named() -> None:
    settings: dict[str, Any]
    for settings in (
        {"passphrase": "x", "open": True},
        {"audio_ports": (5600, 5500)},
        {"max_clients": 0},
        {"latency_ms": -1},
        {"port": 70_000},
        {"passphrase": ""},
    ):
        with pytest.raises(udpconf.ConfigError):
            serve(**settings)
    for settings in (
        {"quality": 0},
        {"quality": 20, "min_quality": 30},
        {"max_bitrate_kbps": 1},
        {"codec": "h264"},
        {"fps": 0},
        {"latency_ms": -1},
    ):
        with pytest.raises(udpconf.ConfigError):
            udpconf.Sender("127.0.0.1", 9, passphrase="x", **settings)


def test_what_is_no_picture_or_no_sound_is_refused_at_the_call(server: udpconf.Server) -> None:
    with send(server) as sender:
        wrong: Any
        for wrong in (np.zeros((10, 10, 3), np.float32), np.zeros((10, 10, 4), np.uint8), "picture", None):
            with pytest.raises(udpconf.LocalProtocolError):
                sender.send_video(wrong)
        with pytest.raises(udpconf.ConfigError, match="at most"):
            sender.send_video(np.zeros((2161, 10, 3), np.uint8))
        for wrong in (np.zeros(480, np.float32), np.zeros((2, 2, 2), np.int16), "sound"):
            with pytest.raises(udpconf.ConfigError):
                sender.send_audio(wrong)
        assert sender.send_video(picture(0)) == 0
    for call in (lambda: sender.send_video(picture(0)), lambda: sender.send_audio(np.zeros(480, np.int16))):
        with pytest.raises(udpconf.LocalProtocolError, match="closed"):
            call()


def test_what_was_not_offered_cannot_be_sent(server: udpconf.Server) -> None:
    with send(server, video=False) as sender, pytest.raises(udpconf.LocalProtocolError, match="video=False"):
        sender.send_video(picture(0))
    with send(server, audio=False) as sender, pytest.raises(udpconf.LocalProtocolError, match="audio=False"):
        sender.send_audio(np.zeros(480, np.int16))


def test_the_picture_may_be_changed_right_after_the_call(server: udpconf.Server) -> None:
    feed = server.frames(timeout=PATIENCE_S)
    with send(server) as sender:
        image = np.full((64, 64, 3), 200, np.uint8)
        sender.send_video(image)
        image[:] = 0
        assert next(feed).image.mean() > 190


def test_each_client_has_an_audio_port_of_its_own_until_the_range_is_used_up() -> None:
    low, high = free_range(2)
    taken = UdpSocket.listen("127.0.0.1", low)
    with serve(audio_ports=(low, high)) as server:
        with send(server, name="anne"), send(server, name="ben"), send(server, name="none", audio=False):
            wait_until(lambda: len(server.clients()) == 3)
            ports = {stats.name: stats.audio_port for stats in server.stats().values()}
            assert ports == {"anne": high, "ben": 0, "none": 0}
        wait_until(lambda: not server.clients())
        with send(server, name="carl"):
            wait_until(server.clients)
            assert [stats.audio_port for stats in server.stats().values()] == [high]
    taken.close()


def test_muxed_audio_takes_no_port(server: udpconf.Server) -> None:
    with send(server, mux_audio=True):
        wait_until(server.clients)
        assert [stats.audio_port for stats in server.stats().values()] == [0]


@pytest.mark.parametrize("mux", [False, True])
def test_sound_arrives_on_its_channel(server: udpconf.Server, mux: bool) -> None:
    with send(server, mux_audio=mux, video=False) as sender:

        def heard() -> bool:
            sender.send_audio(tone(400, 1))
            return any(stats.audio_frames_received > 5 for stats in server.stats().values())

        wait_until(heard)
        assert sender.stats().audio_frames_sent >= 3  # each packet repeats frames, and repeats count


def tone(hertz: float, blocks: int) -> NDArray[np.int16]:
    times = np.arange(blocks * 480) / 48_000
    return (8000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


class Humming:
    """Sends a tone in real time until told to stop."""

    def __init__(self, sender: udpconf.Sender, hertz: float) -> None:
        self._sender = sender
        self._blocks = tone(hertz, 100).reshape(100, 480)  # a whole number of periods
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        start = time.monotonic()
        for number in itertools.count():
            due = start + number * 0.01
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            self._sender.send_audio(
                self._blocks[number % len(self._blocks)], capture_us=int((due - 0.01) * 1e6)
            )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_pictures_and_sound_together_stay_under_the_ceiling(server: udpconf.Server) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (180, 320, 3), np.uint8)
    sent: list[tuple[float, int]] = []
    with (
        send(server, max_bitrate_kbps=400, min_quality=5) as sender,
        Humming(sender, 440),
    ):
        wait_until(lambda: sender.stats().audio_frames_sent > 0)
        start = time.monotonic()
        for number in range(90):
            time.sleep(max(0.0, start + number / 30 - time.monotonic()))
            sender.send_video(noise)
            stats = sender.stats()
            sent.append((time.monotonic(), stats.bytes_sent + 28 * stats.packets_sent))
        assert stats.frames_sent > 10
    for (at_s, so_far), (until_s, then) in itertools.combinations(sent, 2):
        if until_s - at_s <= 1:
            assert (then - so_far) * 8 / 1000 <= 400


def pitch(pcm: NDArray[np.int16]) -> float:
    spectrum = np.abs(np.fft.rfft(pcm[:, 0] * np.hanning(len(pcm))))
    return float(np.argmax(spectrum)) * 48_000 / len(pcm)


def test_the_latency_can_be_turned_from_either_side_while_pictures_come(server: udpconf.Server) -> None:
    def delay_ms() -> float:
        return statistics.median(
            (time.monotonic_ns() // 1000 - frame.capture_us) / 1000
            for frame in itertools.islice(server.frames(timeout=PATIENCE_S), 20)
        )

    with send(server) as sender, Filming(sender):
        calm_ms = delay_ms()
        sender.set_latency(300)
        wait_until(lambda: delay_ms() > 299)
        server.set_latency(500)
        wait_until(lambda: delay_ms() > 499)
        server.set_latency(None)
        wait_until(lambda: delay_ms() < 499)
        sender.set_latency(None)
        wait_until(lambda: delay_ms() < max(250, 2 * calm_ms))
        for dial in (sender.set_latency, server.set_latency):
            with pytest.raises(udpconf.ConfigError):
                dial(-1)


def test_sound_of_one_client_or_of_all_mixed_can_be_listened_to(server: udpconf.Server) -> None:
    with (
        send(server, name="low", video=False) as low,
        send(server, name="high", video=False) as high,
    ):
        wait_until(lambda: len(server.clients()) == 2)
        one = next(client for client in server.clients() if client.name == "low")
        alone, mixed = server.audio(PATIENCE_S, client=one), server.audio(PATIENCE_S)
        with Humming(low, 400), Humming(high, 1600):
            blocks = list(itertools.islice(alone, 80))
            everybody = list(itertools.islice(mixed, 80))
    assert {block.client for block in blocks} == {one}
    assert all(block.pcm.dtype == np.int16 and block.pcm.shape[0] == 240 for block in blocks)
    captured = [block.capture_us or 0 for block in blocks]
    steps = [after - before for before, after in itertools.pairwise(captured[20:])]
    assert min(steps) > -20_000  # where the machine stood still, sound is made up or repeated
    assert 4_000 < np.median(steps) < 6_000  # where the machine stood still it is more
    assert abs(pitch(np.concatenate([block.pcm for block in blocks[40:]])) - 400) < 10
    assert {block.client for block in everybody} == {None}
    spectrum = np.abs(np.fft.rfft(np.concatenate([block.pcm for block in everybody[40:]])[:, 0]))
    assert set(np.argsort(spectrum)[-2:] * 48_000 // 9600) == {400, 1600}


def test_a_recording_has_the_sound_and_the_pictures_of_each_client(tmp_path: Path) -> None:
    with serve() as server:
        happened = server.events(timeout=PATIENCE_S)
        with send(server, name="before") as before, Humming(before, 400):
            server.start_recording(tmp_path / "new")
            assert server.recording
            with send(server, name="after") as after, Humming(after, 400), Filming(before), Filming(after):
                started = [event for event in itertools.islice(happened, 4) if not joined(event)]
        files = [event for event in started if isinstance(event, udpconf.RecordingStarted)]
        assert files == started
        assert {event.client.name for event in files} == {"before", "after"}
        server.stop_recording()
        assert not server.recording
        server.stop_recording()
    ended = [event for event in happened if isinstance(event, udpconf.RecordingEnded)]
    assert {event.path for event in ended} == set((tmp_path / "new").glob("*.mkv"))
    for event in ended:
        assert event.reason
        with av.open(event.path) as file:
            assert {stream.type for stream in file.streams} == {"video", "audio"}


def joined(event: object) -> bool:
    return isinstance(event, udpconf.ClientJoined)


def test_a_recording_needs_a_directory_and_a_running_server(server: udpconf.Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(udpconf.ConfigError):
        server.start_recording(tmp_path / "file")
    assert not server.recording
    server.close()
    with pytest.raises(udpconf.LocalProtocolError, match="closed"):
        server.start_recording(tmp_path)


def test_a_speaker_that_does_not_exist_is_a_device_error(server: udpconf.Server) -> None:
    with pytest.raises((udpconf.DeviceError, udpconf.MissingDependencyError)):
        server.start_speaker("no such loudspeaker")
    server.stop_speaker()
    assert not server.muted
    server.mute()
    assert server.muted


def test_a_client_finds_its_restarted_server_and_keeps_its_id() -> None:
    server = serve()
    port, ranges = server.port, free_range()
    with send(server) as sender:
        wait_until(server.clients)
        before = server.clients()[0]
        server.close()
        wait_until(lambda: not sender.connected)
        assert sender.send_video(picture(0)) == 0
        wait_until(lambda: sender.stats().frames_dropped_away == 1)
        with serve(port=port, audio_ports=ranges) as again:
            feed = again.frames(timeout=PATIENCE_S)
            wait_until(lambda: sender.connected)
            assert again.clients()[0].id == before.id
            assert sender.send_video(picture(1)) == 1
            assert next(feed).frame_id == 1
            assert sender.stats().reconnects == 1


def test_a_server_that_comes_back_with_another_passphrase_is_told_at_the_next_call() -> None:
    server = serve()
    port = server.port
    with send(server) as sender:
        wait_until(server.clients)
        server.close()
        with serve(port=port, passphrase="another one altogether"):
            wait_until(lambda: sender.error is not None)
            with pytest.raises(udpconf.ConnectError, match="passphrase"):
                sender.send_video(picture(0))


def test_a_sender_that_ends_leaves_no_thread_behind(server: udpconf.Server) -> None:
    before = set(threading.enumerate())
    with send(server) as sender:
        sender.send_video(picture(0))
        assert set(threading.enumerate()) > before
    sender.close()
    assert set(threading.enumerate()) <= before
