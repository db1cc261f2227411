"""The lab reads what lab-net wrote down: sent is not delivered, and the rate may change in between."""

from pathlib import Path

from tools.lab.link_log import NEVER, read_link_log

LOG = """\
{"step": 0, "at_us": 100}
{"direction": "up", "n": 0, "size": 500, "sent_us": 100, "fate": "passed", "corrupted": false, "duplicated": true}
{"direction": "up", "n": 1, "size": 501, "sent_us": 110, "fate": "lost", "corrupted": false, "duplicated": false}
{"direction": "up", "n": 0, "copy": false, "due_us": 120, "delivered_us": 121}
{"direction": "up", "n": 2, "size": 502, "sent_us": 130, "fate": "passed", "corrupted": true, "duplicated": false}
{"direction": "up", "n": 0, "copy": true, "due_us": 140, "delivered_us": 141}
{"direction": "up", "n": 2, "copy": false, "due_us": 150, "delivered_us": 150}
{"direction": "down", "n": 0, "size": 60, "sent_us": 160, "fate": "passed", "corrupted": false, "duplicated": false}
{"step": 1, "at_us": 170}
{"direction": "up", "n": 3, "size": 503, "sent_us": 180, "fate": "passed", "corrupted": false, "duplicated": false}
{"direction": "up", "n": 3, "copy": fal"""


def test_a_packet_arrives_when_the_link_let_it_out_and_never_if_lost_damaged_or_still_under_way(
    tmp_path: Path,
) -> None:
    file = tmp_path / "link.jsonl"
    file.write_text(LOG)
    up, down, steps_us = read_link_log(file)
    assert steps_us == [100, 170]
    assert up.sent_us.tolist() == [100, 110, 130, 180]
    assert up.size.tolist() == [500, 501, 502, 503]
    assert up.due_us.tolist() == [120, NEVER, NEVER, NEVER]
    assert (down.sent_us.tolist(), down.due_us.tolist()) == ([160], [NEVER])
