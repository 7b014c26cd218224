"""Text on one line, so that no data forges a line of a message or of the log."""

# Characters that break a line, or hide or reorder text: C0, DEL and C1 controls, the Unicode line and
# paragraph separators, bidi embeddings, overrides and isolates (an override shows an ID backwards), and lone
# surrogates, which UTF-8 cannot encode. Joiners and marks stay, because many scripts need them.
_UNPRINTABLE = dict.fromkeys(
    [
        *range(0x20),
        *range(0x7F, 0xA0),
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),
    ],
    " ",
)


def one_line(data: str) -> str:
    """Replace every line break, control character and bidi control of `data` with a space."""
    return data.translate(_UNPRINTABLE)
