"""Whoever reads our output line by line finds whole lines, whichever threads wrote them."""

import io
import json
import sys
import threading
import time

import pytest

from udpconf.cli.console import Console


class SlowStream(io.StringIO):
    """A terminal that lets other threads run in the middle of everything that is written to it."""

    def write(self, text: str) -> int:
        written = super().write(text)
        time.sleep(0.0002)
        return written


def test_lines_of_several_threads_are_not_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = SlowStream(), SlowStream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    console = Console()
    console.json_lines = True

    def speak(name: str) -> None:
        for number in range(20):
            console.event("joined", f"{name} {number}", name=name, number=number)

    threads = [threading.Thread(target=speak, args=(name,)) for name in ("main", "events", "log")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert sorted((event["name"], event["number"]) for event in events) == [
        (name, number) for name in ("events", "log", "main") for number in range(20)
    ]
    said = [f"{event['name']} {event['number']}" for event in events]
    assert sorted(err.getvalue().splitlines()) == sorted(said)
