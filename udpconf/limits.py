"""Every limit of the program in one table, each with its unit and its reason.

A limit that guards memory counts bytes, not objects. Each has a test at limit - 1, limit and limit + 1.
"""

MS = 1_000
SECOND = 1_000_000

# --- datagrams -------------------------------------------------------------------------------------------------------
# What every path carries (QUIC's base, RFC 9000 section 14); larger only after a probe.
DATAGRAM_DEFAULT_BYTES = 1200
DATAGRAM_MAX_BYTES = 1452
# Empty and oversize datagrams count against it as well, or they would hold the loop for ever (CVE-2026-11352).
RECEIVE_BATCH = 64

# --- handshake -------------------------------------------------------------------------------------------------------
COOKIE_LIFE_US = 10 * SECOND
COOKIE_SECRET_ROTATION_US = 120 * SECOND
HALF_OPEN_MAX = 64
HALF_OPEN_PER_SOURCE = 4
HALF_OPEN_LIFE_US = 5 * SECOND
# A duplicate HELLO (its ACCEPT was lost) gets the cached ACCEPT again, so often.
ACCEPT_REPEATS = 3
# A client that met three ACCEPTs it could not open has the wrong passphrase: it stops and asks.
CONFIRM_FAILURES_CLIENT = 3
CLIENTS_DEFAULT = 256

# --- session ---------------------------------------------------------------------------------------------------------
PING_INTERVAL_US = 1 * SECOND
REJOIN_AFTER_US = 2 * SECOND
DROP_AFTER_US = 15 * SECOND
REPLAY_WINDOW = 8192
CONTROL_BODY_MAX_BYTES = 1000
# Control frames are few; more than this unacknowledged means that the peer is gone, not slow.
CONTROL_QUEUE_MAX = 64

# --- video -----------------------------------------------------------------------------------------------------------
PICTURE_MAX_WIDTH = 3840
PICTURE_MAX_HEIGHT = 2160
SHARDS_PER_FRAME_MAX = 8192
BLOCKS_MAX = -(-SHARDS_PER_FRAME_MAX // 128)  # each of up to 128 data shards
FRAME_MAX_BYTES = 8 << 20
OPEN_FRAMES_MAX = 64
STREAM_REASSEMBLY_MAX_BYTES = 16 << 20
SERVER_REASSEMBLY_MAX_BYTES = 256 << 20

# --- audio -----------------------------------------------------------------------------------------------------------
AUDIO_DATAGRAMS_PER_SECOND = 200
AUDIO_BUFFER_US = 400 * MS
OPUS_FRAME_MAX_BYTES = 1176 // 4

# --- names, logs -----------------------------------------------------------------------------------------------------
NAME_MAX_BYTES = 64
LOG_LINES_PER_SECOND = 10
# Clients that seem to have another key: one a source and six in all within a minute are told. Chosen, not measured: soon
# enough for whoever wonders why a friend does not appear, and a flood from many addresses stays a line each 10 s.
REFUSALS_TOLD_INTERVAL_US = 60 * SECOND
REFUSALS_TOLD_MAX = 6

# --- recorder --------------------------------------------------------------------------------------------------------
RECORDER_QUEUE_BYTES = 8 << 20
RECORDER_CLUSTER_MS = 500
RECORDER_FILE_US = 600 * SECOND
RECORDER_RESERVE_BYTES = 512 << 20
