"""The JPEG header, rebuilt from a frame's description (RFC 2435's idea): it never travels.

libjpeg, and so OpenCV, writes the tables that ITU-T T.81 gives in Annex K, the quantisation ones scaled by the quality.
Width, height, quality, subsampling and restart interval therefore determine the 330 to 630 bytes before the first scan
byte. That saves some 5 % of a small frame, and no header from the network ever reaches a decoder.
"""

from functools import lru_cache

from udpconf.frames import FrameDescription, Subsampling

START_OF_IMAGE = b"\xff\xd8"
END_OF_IMAGE = b"\xff\xd9"

# JFIF 1.01, no density unit, 1:1, no thumbnail: what libjpeg writes.
_JFIF = bytes.fromhex("ffe0 0010 4a46494600 0101 00 0001 0001 0000")

# T.81 tables K.1 and K.2, in zigzag order as DQT carries them, for quality 50.
_QUANTISATION_LUMA = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40,
    26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
    56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87,
    95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
)  # fmt: skip
_QUANTISATION_CHROMA = (17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66) + 50 * (99,)

# T.81 tables K.3 to K.6: sixteen counts of codes by length, then the symbols.
_HUFFMAN_DC_LUMA = bytes.fromhex("00010501010101010100000000000000 000102030405060708090a0b")
_HUFFMAN_DC_CHROMA = bytes.fromhex("00030101010101010101010000000000 000102030405060708090a0b")
_HUFFMAN_AC_LUMA = bytes.fromhex(
    "0002010303020403050504040000017d"
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a"
    "434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9"
    "aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_HUFFMAN_AC_CHROMA = bytes.fromhex(
    "00020102040403040705040400010277"
    "00010203110405213106124151076171132232810814"
    "4291a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a434445464748494a535455565758595a6364656667"
    "68696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2"
    "d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)

# Sampling factors of the luma component, horizontal and vertical in one byte; chroma and grey have 1 and 1.
_LUMA_SAMPLING = {
    Subsampling.GREY: 0x11,
    Subsampling.S420: 0x22,
    Subsampling.S422: 0x21,
    Subsampling.S444: 0x11,
}

# Bits of a unit that changes nothing: DC difference 0 and end of block, with the tables above. Luma is 00 1010, chroma
# 00 00; as DC prediction starts anew with each interval, such an interval is mid-grey.
_FLAT_UNIT_BITS = {
    Subsampling.GREY: "001010",
    Subsampling.S420: 4 * "001010" + 2 * "0000",
    Subsampling.S422: 2 * "001010" + 2 * "0000",
    Subsampling.S444: "001010" + 2 * "0000",
}


# A stream changes its quality from frame to frame within its limits; a few streams share this.
@lru_cache(maxsize=512)
def jpeg_header(description: FrameDescription) -> bytes:
    """Everything from SOI to the end of SOS, byte for byte as libjpeg writes it for this description."""
    grey = description.subsampling == Subsampling.GREY
    components: tuple[tuple[int, int, int], ...] = ((1, _LUMA_SAMPLING[description.subsampling], 0),)
    if not grey:
        components += ((2, 0x11, 1), (3, 0x11, 1))

    parts = [START_OF_IMAGE, _JFIF, _table(0xDB, 0x00, _scaled(_QUANTISATION_LUMA, description.quality))]
    if not grey:
        parts.append(_table(0xDB, 0x01, _scaled(_QUANTISATION_CHROMA, description.quality)))

    frame_header = bytes(
        (8, *description.coded_height.to_bytes(2), *description.coded_width.to_bytes(2), len(components))
    )
    parts.append(_marker(0xC0, frame_header + b"".join(bytes(component) for component in components)))

    parts += [_table(0xC4, 0x00, _HUFFMAN_DC_LUMA), _table(0xC4, 0x10, _HUFFMAN_AC_LUMA)]
    if not grey:
        parts += [_table(0xC4, 0x01, _HUFFMAN_DC_CHROMA), _table(0xC4, 0x11, _HUFFMAN_AC_CHROMA)]

    parts.append(_marker(0xDD, description.restart_interval.to_bytes(2)))

    # Which Huffman tables each component uses, then the spectral selection of a baseline scan: all 64 coefficients.
    scan = b"".join(bytes((number, table << 4 | table)) for number, _, table in components)
    parts.append(_marker(0xDA, bytes((len(components),)) + scan + b"\x00\x3f\x00"))
    return b"".join(parts)


@lru_cache(maxsize=256)
def flat_interval(units: int, subsampling: Subsampling) -> bytes:
    """The bytes of an interval of so many grey MCUs, padded with 1 bits (T.81, F.1.2.3)."""
    bits = _FLAT_UNIT_BITS[subsampling] * units
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8)


def _scaled(table: tuple[int, ...], quality: int) -> bytes:
    """The scaling of libjpeg's jpeg_quality_scaling, with values kept to the 8 bits of a baseline file."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return bytes(min(255, max(1, (value * percent + 50) // 100)) for value in table)


def _table(marker: int, identifier: int, content: bytes) -> bytes:
    return _marker(marker, bytes((identifier,)) + content)


def _marker(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2) + content
