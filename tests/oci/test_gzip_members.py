"""The compressor of image layers: what it packs unpacks, and its bytes never change."""

from __future__ import annotations

import gzip
import hashlib
import zlib

from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.oci.layers import LONGEST_PIECE, deflated, member, stored

repetitive = st.lists(st.tuples(st.binary(max_size=9), st.integers(1, 400)), max_size=12).map(
    lambda parts: b"".join(piece * times for piece, times in parts)[:LONGEST_PIECE]
)


@given(st.one_of(st.binary(max_size=3000), repetitive))
def test_what_is_packed_unpacks_to_itself(content: bytes) -> None:
    assert zlib.decompress(deflated(content), -zlib.MAX_WBITS) == content
    assert gzip.decompress(member(content)) == content


def test_every_length_and_distance_of_a_match_can_be_told() -> None:
    for distance in (4, 5, 9, 100, 1025, 8193, 24577, 32768):
        for length in (*range(4, 20), 34, 67, 131, 257, 258, 259, 600):
            first = b"WXYZ" + bytes(range(1, 200)) * 4
            content = first[:length] + b"\xff" * max(0, distance - length) + first[:length]
            assert zlib.decompress(deflated(content), -zlib.MAX_WBITS) == content


def test_a_match_that_is_too_far_back_is_not_taken() -> None:
    noise = hashlib.sha512(b"seed").digest() * 600
    content = b"only here" + noise[:33000] + b"only here"
    assert zlib.decompress(deflated(content), -zlib.MAX_WBITS) == content


@given(st.binary(max_size=300), st.integers(0, 3))
def test_stored_bytes_unpack_to_themselves(content: bytes, times: int) -> None:
    content = content * (1000 * times)
    assert zlib.decompress(b"".join(stored(content, is_last=True)), -zlib.MAX_WBITS) == content


def test_bytes_that_do_not_shrink_grow_by_a_header_only() -> None:
    noise = b"".join(hashlib.sha512(bytes([n])).digest() for n in range(200))
    assert len(member(noise)) <= len(noise) + 18 + 5


def test_the_bytes_are_the_same_for_ever() -> None:
    """Where this fails the format changed: images get other digests, and `BUILDER` counts up."""
    content = b"".join(b"line %d of a file that repeats itself\n" % n for n in range(500))
    assert hashlib.sha256(member(content)).hexdigest() == (
        "fe441d67bdaede2d4474608e7496537e387d3c09fe5d59ce155019b4f39d4fed"
    )
    assert len(member(content)) < len(content) / 5
