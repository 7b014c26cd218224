import pytest

from core.sources.parquet.thrift import Each, Shape, read_struct

# The inner struct has a text (2) and a number (3). The outer one has a number (1), a list of two inner
# structs (4), and a list of three numbers (9) whose length has the long form.
INNER = b"\x28\x03abc" + b"\x15\xd8\x04" + b"\0"
WRITTEN = b"\x15\x0e" + b"\x39\x2c" + INNER + INNER + b"\x59\xf5\x03\x02\x04\x06" + b"\0"


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ({}, {}),
        ({1: int, 9: Each(int)}, {1: 7, 9: [1, 2, 3]}),
        ({4: Each({2: bytes, 3: int})}, {4: [{2: b"abc", 3: 300}] * 2}),
        ({4: Each({3: int}, places={1})}, {4: [{3: 300}]}),
    ],
)
def test_only_fields_of_the_shape_are_read(shape: Shape, found: object) -> None:
    assert read_struct(WRITTEN, 0, shape) == (found, len(WRITTEN))


@pytest.mark.parametrize("shape", [{1: bytes}, {1: {}}, {4: int}, {4: Each(int)}, {9: {}}, {9: Each(bytes)}])
def test_value_of_another_type_is_an_error(shape: Shape) -> None:
    with pytest.raises(ValueError, match="another kind"):
        read_struct(WRITTEN, 0, shape)


def test_truncated_bytes_are_an_error() -> None:
    for end in range(len(WRITTEN)):
        with pytest.raises(IndexError):
            read_struct(WRITTEN[:end], 0, {1: int, 4: Each({2: bytes})})


@pytest.mark.parametrize("kind", [1, 3, 7])
def test_a_list_longer_than_the_data_is_an_error(kind: int) -> None:
    """Its length alone must not keep the reader busy for years."""
    length = b"\xff" * 8 + b"\x7f"
    with pytest.raises(IndexError):
        read_struct(b"\x19" + bytes([0xF0 | kind]) + length + b"\0", 0, {})
