import pytest

from core.sources.parquet.thrift import read_struct

INNER = b"\x28\x03abc" + b"\x15\xd8\x04" + b"\0"
"""A struct of a text (2) and a number of 32 bits (3)."""
WRITTEN = b"".join(
    (
        b"\x14\x0e",  # 1: a number of 16 bits
        b"\x39\x2c" + INNER + INNER,  # 4: a list of two structs
        b"\x59\xf6\x03\x02\x04\x7f",  # 9: a list of three numbers of 64 bits, whose length has the long form
        b"\x13\x7f" + b"\x11\x12" + b"\x17" + bytes(8),  # 10 to 13: a byte, true, false, and a double
        b"\x05\x50\x02",  # 40: a number of 32 bits, whose own number has the long form
        b"\x19\x21\x01\x02" + b"\0",  # 41: a list of two booleans, which are bytes
    )
)


def test_all_types_are_read() -> None:
    fields = {
        1: 7,
        4: [{2: b"abc", 3: 300}] * 2,
        9: [1, 2, -64],
        10: 0x7F,
        11: True,
        12: False,
        13: bytes(8),
        40: 1,
        41: [1, 2],
    }
    assert read_struct(WRITTEN, 0) == (fields, len(WRITTEN))


@pytest.mark.parametrize("data", [b"\x1d\0", b"\x10", b"\x0f\0"])
def test_unknown_type_is_an_error(data: bytes) -> None:
    with pytest.raises(LookupError):
        read_struct(data, 0)


def test_truncated_bytes_are_an_error() -> None:
    for end in range(len(WRITTEN)):
        with pytest.raises((LookupError, ValueError)):
            read_struct(WRITTEN[:end], 0)


@pytest.mark.parametrize("kind", [1, 2, 3, 7])
def test_list_longer_than_the_data_is_an_error(kind: int) -> None:
    """Its length alone must not keep the reader busy for years."""
    length = b"\xff" * 8 + b"\x7f"
    with pytest.raises(ValueError, match="a list ends after the data"):
        read_struct(b"\x19" + bytes([0xF0 | kind]) + length + b"\0", 0)


def test_number_without_an_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="a number is too long"):
        read_struct(b"\x16" + b"\xff" * 10 + b"\x01\0", 0)
