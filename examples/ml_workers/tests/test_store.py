"""Blobs: any size goes through znodes, and nothing damaged comes out."""

import os

import pytest

from store import CHUNK_BYTES, decode_blob, encode_blob

ABOUT = {"worker": "worker-1"}


@pytest.mark.parametrize("size", [0, 1, 1000, 4096, 100_000])
def test_a_blob_comes_out_as_it_went_in(size):
    payload = os.urandom(size)
    head, chunks = encode_blob(payload, ABOUT, chunk_bytes=1000)
    assert all(len(chunk) <= 1000 for chunk in chunks)
    assert decode_blob(head, chunks.__getitem__) == (payload, ABOUT)


def test_what_fits_lies_in_the_head_znode_itself():
    head, chunks = encode_blob(os.urandom(400_000), ABOUT)
    assert chunks == []
    assert len(head) < CHUNK_BYTES + 1000


def test_no_request_comes_near_the_servers_limit_of_one_mebibyte():
    head, chunks = encode_blob(os.urandom(5_000_000), ABOUT)
    assert len(head) < 1000
    assert max(map(len, chunks)) <= 512 * 1024


def test_chunks_of_another_blob_are_noticed():
    head, chunks = encode_blob(os.urandom(3000), ABOUT, chunk_bytes=1000)
    _, others = encode_blob(os.urandom(3000), ABOUT, chunk_bytes=1000)
    assert len(chunks) == len(others) > 1
    with pytest.raises(ValueError, match="checksum"):
        decode_blob(head, others.__getitem__)
