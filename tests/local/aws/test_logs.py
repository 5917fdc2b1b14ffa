import pytest

from local.aws.logs import EVENT_BYTES, Lines, pieces


def fed(*chunks: bytes) -> list[str]:
    lines = Lines()
    return [line for chunk in chunks for line in lines.feed(chunk)] + lines.feed(b"", final=True)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"no end"], ["no end"]),
        ([b"sp", b"lit\nin", b" three\n"], ["split", "in three"]),
        ([b"10%\r20%\r30%\ndone\n"], ["10%", "20%", "30%", "done"]),
        ([b"dos\r\nlines\r\n"], ["dos", "lines"]),
        ([b"dos\r", b"\nsplit\r\n"], ["dos", "split"]),
        ([b"bad \xff byte\n"], ["bad � byte"]),
        (["S\u00e3o".encode()[:2], "S\u00e3o".encode()[2:]], ["São"]),
        ([b"cut \xc3"], ["cut �"]),
        ([b"a\n\nb"], ["a", "", "b"]),
    ],
)
def test_output_becomes_lines(chunks, expected):
    assert fed(*chunks) == expected


def test_lines_come_as_soon_as_they_end():
    lines = Lines()
    assert lines.feed(b"first\nsecond") == ["first"]
    assert lines.feed(b" half\n") == ["second half"]


def test_a_line_without_end_is_handed_out_in_pieces_while_it_grows():
    lines = Lines()
    fed_so_far = [line for _ in range(10) for line in lines.feed(b"x" * 65536)]
    rest = lines.feed(b"", final=True)
    assert [len(line) for line in fed_so_far + rest] == [EVENT_BYTES, EVENT_BYTES, 655360 - 2 * EVENT_BYTES]
    assert len(fed_so_far) == 2


@pytest.mark.parametrize("character", ["x", "é", "€", "🛒"])
def test_pieces_fit_and_never_cut_a_character(character):
    line = "a" + character * 300_000
    cut = list(pieces(line))
    assert "".join(cut) == line
    assert all(EVENT_BYTES - 3 <= len(piece.encode()) <= EVENT_BYTES for piece in cut[:-1])
    assert len(cut) == -(-len(line.encode()) // EVENT_BYTES)
