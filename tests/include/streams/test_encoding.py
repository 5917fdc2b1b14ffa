import pytest

from include.streams import encoding


def test_canonical_json_knows_no_order_and_no_spaces():
    assert encoding.canonical({"b": 1, "a": ["é", None]}) == b'{"a":["\\u00e9",null],"b":1}'
    assert encoding.canonical({"a": ["é", None], "b": 1}) == encoding.canonical({"b": 1, "a": ["é", None]})


def test_numbers_that_are_none_have_no_canonical_form():
    with pytest.raises(ValueError, match="not JSON compliant"):
        encoding.canonical(float("nan"))


def test_a_hash_is_the_same_for_ever():
    assert encoding.hash64(b"") == 0xE4A6A0577479B2B4  # blake2b with digest_size 8, RFC 7693
    assert encoding.hash64(b'{"custid":1}') != encoding.hash64(b'{"custid":2}')


def test_parts_come_out_as_they_went_in():
    parts = [b"", b"abc", bytes(300)]
    assert list(encoding.unpack(encoding.pack(parts))) == parts
    assert encoding.pack([b"ab"]) == b"\0\0\0\2ab"


@pytest.mark.parametrize("lost", [1, 2, 3, 5])
def test_parts_that_were_cut_off_are_refused(lost):
    with pytest.raises(ValueError, match="cut off"):
        list(encoding.unpack(encoding.pack([b"abc", b"ab"])[:-lost]))


def test_identities_are_sorted_bytes():
    assert encoding.pack_ids({2, 1, 2**64 - 1}) == bytes(7) + b"\1" + bytes(7) + b"\2" + b"\xff" * 8
    assert encoding.unpack_ids(encoding.pack_ids({2, 1})) == (1, 2)


@pytest.mark.parametrize("identity", [-1, 2**64, 1.5])
def test_other_numbers_are_no_identities(identity):
    with pytest.raises(ValueError, match="identity must be an int in"):
        encoding.pack_ids([identity])


def test_identities_that_were_cut_off_are_refused():
    with pytest.raises(ValueError, match="cut off"):
        encoding.unpack_ids(bytes(9))
