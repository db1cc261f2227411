"""A client's name is a label: never a key, never a path, and safe to print."""

import unicodedata

from udpconf.limits import NAME_MAX_BYTES

UNNAMED = "unnamed"
# Letters, marks, numbers and the plain space; control characters, directional overrides and the like never pass.
_CATEGORIES = ("L", "M", "N")
_PUNCTUATION = " -_.'"


def clean_name(name: str) -> str:
    """Return the name as it may be shown: NFC, at most 64 bytes of UTF-8, letters, digits, space and ``-_.'``."""
    kept = "".join(
        character if unicodedata.category(character)[0] in _CATEGORIES or character in _PUNCTUATION else " "
        for character in unicodedata.normalize("NFC", name)
    )
    short = " ".join(kept.split()).encode()[:NAME_MAX_BYTES].decode(errors="ignore").strip()
    return short or UNNAMED
