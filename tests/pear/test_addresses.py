"""Addresses that no server can have are refused before a client asks."""

from __future__ import annotations

import pytest

from pear.addresses import RemoteError, open_filesystem, require_host, with_access


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3:///x.nc", "s3:///x.nc names no bucket"),
        ("s3a://me:word@/x.nc", "names no bucket"),
        ("gs:///a/b.zarr", "names no bucket"),
        ("https:///x.nc", "https:///x.nc names no host"),
        ("http://:8080/x.nc", "names no host"),
        ("https://host:port/x.nc", "is not an address"),
        ("https://[::1/x.nc", "is not an address"),
    ],
)
def test_an_address_without_a_server_is_refused(address: str, message: str) -> None:
    def ask(*, anonymous: bool) -> None:
        raise AssertionError("a client was asked")

    for asked in (require_host, open_filesystem, lambda text: with_access(text, ask)):
        with pytest.raises(RemoteError, match=message) as caught:
            asked(address)
        assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["file:///x.nc", "s3://b/x.nc", "az://container/x", "http://127.0.0.1:80/x", "x.nc"]
)
def test_other_addresses_pass(address: str) -> None:
    require_host(address)
