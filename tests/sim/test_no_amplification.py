"""Nobody can have a server flood somebody else, not even a member of the room who forges his address."""

import pytest

from tests.conversation import SERVER_START_US, UDP_IP_BYTES, Conversation
from udpconf.proto.events import MAIN_PATH
from udpconf.wire.control import ControlKind
from udpconf.wire.envelope import PROTECTED_BIT, Channel
from udpconf.wire.frames import (
    TOKEN_BYTES,
    AudioBind,
    Control,
    Ping,
    encode_audio_bind,
    encode_control,
    encode_ping,
)

ELSEWHERE = ("203.0.113.9", 9)


@pytest.mark.parametrize(
    "frame",
    [
        encode_ping(Ping(1, 1)),
        encode_audio_bind(AudioBind(bytes(TOKEN_BYTES))),
        encode_control(Control(0, ControlKind.CONFIRM, b"")),
    ],
    ids=["pings", "binds", "control frames"],
)
def test_a_packet_full_of_questions_brings_one_answer(frame: bytes) -> None:
    conversation = Conversation()
    peer = conversation.join()
    conversation.run(2)
    session, server = peer.endpoint._session, conversation.server
    assert session is not None
    assert server is not None
    question = session.seal(Channel.MAIN, frame * (1176 // len(frame)))
    server.handle_datagram(SERVER_START_US + conversation.now_us, MAIN_PATH, ELSEWHERE, question)
    answers = []
    while (transmit := server.poll_transmit()) is not None:
        answers.append(transmit)
    assert len(answers) == 1
    assert len(answers[0].data) + UDP_IP_BYTES < 100


def test_what_a_server_says_goes_where_the_cookie_was_shown_not_where_the_first_packet_came_from() -> None:
    conversation = Conversation()
    peer = conversation.join()
    own_address = peer.address

    def tap(direction: str, data: bytes) -> bytes | None:
        if direction == "up" and data[0] & PROTECTED_BIT:
            peer.address = ELSEWHERE  # forged from here on
        return data

    conversation.tap = tap
    conversation.run(0.1)
    assert peer.address == ELSEWHERE
    assert conversation.server is not None
    assert [client.address for client in conversation.server._clients.values()] == [own_address]
