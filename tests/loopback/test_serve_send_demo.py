"""The program as people run it: two processes and real sockets."""

import json
import signal
import time
from pathlib import Path

import cv2

from tests.loopback.program import Program, run
from tests.loopback.waiting import wait_until
from tests.loopback.xvfb import Xvfb
from udpconf.media.native import av

FRAMES_TO_SEE = 10


def serve(*arguments: str, port: int = 0, environment: dict[str, str] | None = None) -> Program:
    return Program(
        "serve", "--host", "127.0.0.1", "--port", str(port), "--json", *arguments, environment=environment
    )


def wait_for_frames(server: Program) -> str:
    """The id of the client of whom some frames were shown whole."""
    for _ in range(12):  # one each 5 s
        for client_id, stats in server.event("stats")["clients"].items():
            assert stats["received_kbps"] == round(stats["received_kbps"], 1)
            if stats["frames_whole"] >= FRAMES_TO_SEE:
                return str(client_id)
    raise AssertionError("no client was shown whole frames within a minute")


def make_clip(path: Path, frames: int = 15) -> None:
    """Half a second of a grey ramp."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame(160, 120, "gray")
            frame.planes[0].update(bytes([number * 16 % 256]) * frame.planes[0].buffer_size)
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))


def test_a_pattern_is_shown_recorded_and_ends_in_order(tmp_path: Path) -> None:
    with serve("--record", str(tmp_path)) as server:
        url = server.event("listening")["url"]
        with Program("send", url, "--test-pattern", "--name", "Ännchen", "--json") as sender:
            assert sender.event("connected")["sound"] is True
            joined = server.event("joined")
            assert joined["name"] == "Ännchen"
            assert wait_for_frames(server) == joined["client"]
            assert sender.end(signal.SIGINT) == 130
            assert any("Ctrl-C" in line for line in (json.dumps(sender.event("ended")),))
        left = server.event("left")
        assert left["client"] == joined["client"]
        assert server.end(signal.SIGTERM) == 0
        ended = server.event("ended")
        assert (ended["reason"], ended["senders"]) == ("SIGTERM", 1)
    recordings = list(tmp_path.glob("*.mkv"))
    assert len(recordings) == 1
    with av.open(str(recordings[0])) as container:
        assert {stream.type for stream in container.streams} == {"video", "audio"}
        assert sum(1 for packet in container.demux() if packet.size) > FRAMES_TO_SEE


def test_the_end_of_a_file_ends_the_sender_with_0(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    make_clip(clip)
    with serve("--open") as server:
        url = server.event("listening")["url"]
        done = run("send", url, "--open", "--file", str(clip))
        assert done.returncode == 0, done.stderr
        assert "end of the source" in done.stderr
        assert "Traceback" not in done.stderr
        assert server.event("left")["name"]


def test_a_sender_finds_its_server_again(tmp_path: Path) -> None:
    environment = {"UDPCONF_PASSPHRASE": "the same as before"}
    with serve(environment=environment) as server:
        port = server.event("listening")["port"]
        with Program(
            "send", "127.0.0.1", "--port", str(port), "--test-pattern", "--json", environment=environment
        ) as sender:
            sender.event("connected")
            first = wait_for_frames(server)
            server.end(signal.SIGKILL)
            assert sender.event("reconnecting")["port"] == port
            with serve(port=port, environment=environment) as again:
                assert again.event("joined")["client"] == first
                assert sender.event("reconnected")["port"] == port
                assert wait_for_frames(again) == first
            assert sender.end(signal.SIGTERM) == 0


def test_q_in_the_window_ends_the_server_with_0() -> None:
    xvfb = Xvfb()
    try:
        with serve("--display", environment={"DISPLAY": xvfb.display}) as server:
            listening = server.event("listening")
            with Program("send", listening["url"], "--test-pattern"):
                wait_for_frames(server)
                xvfb.press(f"udpconf on port {listening['port']}", "q")
                assert server.wait() == 0
                assert server.event("ended")["reason"] == "q"
    finally:
        xvfb.stop()


def test_a_digit_selects_a_sender_and_the_window_shows_it(tmp_path: Path) -> None:
    xvfb = Xvfb()
    try:
        with serve("--display", "--record", str(tmp_path), environment={"DISPLAY": xvfb.display}) as server:
            listening = server.event("listening")
            with (
                Program("send", listening["url"], "--test-pattern", "--name", "one"),
                Program("send", listening["url"], "--test-pattern", "--name", "two"),
            ):
                for _ in range(2):
                    server.event("joined")
                wait_for_frames(server)
                window = f"udpconf on port {listening['port']}"
                wait_until(lambda: xvfb.find_window(window))
                for key in ("2", "x", "minus", "s"):
                    xvfb.press(window, key)
                saved = cv2.imread(server.event("snapshot")["path"])
                assert saved is not None
                height, width = saved.shape[:2]
                first, second = (saved[height // 4, left + 1] for left in (0, width // 2))
                assert second.min() > 200 > first.min(), "a white frame around the second alone"
    finally:
        xvfb.stop()


def test_the_demo_shows_records_and_says_what_arrived(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("demo", "--seconds", "3", "--loss", "5", "--out", str(out), "--json", "--no-display")
    assert done.returncode == 0, done.stderr
    event = next(value for line in done.stdout.splitlines() if (value := json.loads(line))["event"] == "demo")
    (figures,) = event["senders"]
    shown = figures["frames_whole"] + figures["frames_with_holes"]
    # Every captured frame is shown or skipped; the last ones may still be on their way.
    assert figures["frames_captured"] - 3 <= shown + figures["frames_skipped"] <= figures["frames_captured"]
    assert shown > 30
    assert 0 < figures["loss_share"] < 0.2
    assert figures["audio_frames_from_copies"] > 0
    (recording,) = (Path(path) for path in event["recordings"])
    assert recording.parent == out
    with av.open(str(recording)) as container:
        assert {stream.type for stream in container.streams} == {"video", "audio"}
    picture = cv2.imread(str(event["picture"]))
    assert picture is not None
    assert picture.shape == (720, 1280, 3)


def test_the_demo_says_it_in_words(tmp_path: Path) -> None:
    done = run("demo", "--seconds", "1", "--senders", "2", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for word in ("sender-1", "sender-2", "shown whole", "p99", "recording", "ffplay", "grid.png"):
        assert word in done.stdout


def test_a_demo_that_is_stopped_tells_what_came_until_then(tmp_path: Path) -> None:
    with Program("demo", "--seconds", "600", "--out", str(tmp_path), "--json", "--no-display") as demo:
        wait_until(
            lambda: sum(path.stat().st_size for path in tmp_path.glob("*.mkv")) >= 100_000, demo.errors
        )
        assert demo.end(signal.SIGINT) == 130
        event = demo.event("demo")
    assert event["senders"][0]["frames_whole"] > 0
    assert Path(event["picture"]) == tmp_path / "grid.png"
    assert Path(event["picture"]).exists()


def test_one_press_of_ctrl_c_that_comes_as_two_signals_ends_in_order(tmp_path: Path) -> None:
    with serve("--record", str(tmp_path)) as server:
        server.event("listening")
        server.process.send_signal(signal.SIGINT)
        assert server.end(signal.SIGINT) == 130
        assert server.event("ended")["reason"] == "Ctrl-C"


def test_a_sender_says_where_it_connects_and_what_the_server_said_when_it_went(tmp_path: Path) -> None:
    with serve() as server:
        url = server.event("listening")["url"]
        with Program("send", url, "--test-pattern", "--json") as sender:
            connecting = sender.event("connecting")
            assert (connecting["host"], connecting["port"]) == (
                "127.0.0.1",
                int(url.split(":")[2].split("/")[0]),
            )
            sender.event("connected")
            assert server.end(signal.SIGTERM) == 0
            assert "the server ends" in sender.event("reconnecting")["reason"]


def test_a_server_that_ends_says_that_its_senders_left() -> None:
    with serve("--open") as server:
        url = server.event("listening")["url"]
        with Program("send", url, "--open", "--test-pattern", "--mic", "none", "--json"):
            joined = server.event("joined")
            assert server.end(signal.SIGTERM) == 0
            left = server.event("left")
            assert (left["client"], left["reason"]) == (joined["client"], "the server ends")
            assert json.loads(server.line())["event"] == "ended"


def test_with_json_the_log_stays_on_stderr_and_quiet_silences_it() -> None:
    with serve("--open") as server:
        url = server.event("listening")["url"]
        with Program("send", url, "--open", "--test-pattern", "--name", "anne", "--json", "-q") as sender:
            sender.event("connected")
            server.event("joined")
            assert sender.end(signal.SIGTERM) == 0
            assert sender.errors == []
        server.event("left")
        assert server.end(signal.SIGTERM) == 0
    said = "\n".join(server.errors)
    for words in ("anne (127.0.0.1:", ") joined", ") left: ", "Ended (SIGTERM)"):
        assert words in said
    assert "fps" not in said  # the statistics are objects


def test_a_server_without_senders_does_not_repeat_itself() -> None:
    with Program("serve", "--host", "127.0.0.1", "--port", "0", "--open", "--no-display") as server:
        server.line()
        time.sleep(11)  # two looks at the statistics
        assert server.end(signal.SIGTERM) == 0
    assert sum("0 senders" in line and "Ended" not in line for line in server.errors) == 1
