"""Where stores are published: an address, or a name that the operator has given to one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from pear.addresses import is_address, without_secrets
from pear.errors import InputError, did_you_mean
from pipelines.storage.data_folder import check_name

VARIABLE: Final = "PEAR_DESTINATIONS"


def destinations() -> Mapping[str, str]:
    """Read the named addresses: ``NAME=ADDRESS``, separated by blanks.

    Returns
    -------
    mapping
        Address by name.

    Raises
    ------
    InputError
        If the variable is damaged.
    """
    found = {}
    for part in os.environ.get(VARIABLE, "").split():
        name, sign, address = part.partition("=")
        if not sign or not is_address(address) or without_secrets(address) != address:
            raise InputError(
                f"{VARIABLE} has {without_secrets(part)!r}",
                field=VARIABLE,
                hint="write NAME=ADDRESS, without credentials, separated by blanks",
            )
        found[check_name(name, VARIABLE)] = address
    return found


def resolve_destination(to: str) -> str:
    """Return an address, or the one that has this name.

    Parameters
    ----------
    to
        Address or name.

    Returns
    -------
    str
        The address.

    Raises
    ------
    InputError
        If there is no such name, or the address holds credentials.
    """
    if not is_address(to):
        known = destinations()
        if to not in known:
            hint = f"write s3://bucket/prefix, or name addresses in {VARIABLE}"
            raise InputError(
                f"{to!r} is not an address, and no destination has this name",
                field="to",
                hint=did_you_mean(to, known) if known else hint,
            )
        return known[to]
    if without_secrets(to) != to:
        raise InputError(
            f"the address {without_secrets(to)} holds credentials",
            field="to",
            hint="set them in the environment or in ~/.config/fsspec/conf.json",
        )
    return to
