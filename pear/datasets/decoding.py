"""Exceptions of the libraries that decode files, turned into one kind of error in one place."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pear.errors import InputError

_OF_THE_MACHINE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})


class ReasonedError(Exception):
    """A reason that PEAR gives itself, which passes :func:`decoding` unchanged."""


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn whatever a decoder raises in the block into an InputError that names the source.

    Decoders raise errors of many kinds on damaged files, and none is a fault of PEAR. A full disk
    and a lack of file handles are not the file's fault and pass unchanged.

    Parameters
    ----------
    what
        The source and what is read of it, for the message.

    Raises
    ------
    InputError
        If anything in the block fails; InputError and ReasonedError pass unchanged.

    Examples
    --------
    >>> from pear.datasets.decoding import decoding
    >>> with decoding("era5.nc: t2m"):
    ...     raise KeyError("scale_factor")
    Traceback (most recent call last):
    pear.errors.InputError: era5.nc: t2m cannot be read: KeyError: 'scale_factor'; is it damaged?
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError | ReasonedError):
            raise
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            raise
        text = " ".join(str(error).split())[:300]
        kind = type(error).__name__
        raise InputError(
            f"{what} cannot be read: {kind}: {text}" if text else f"{what} cannot be read: {kind}",
            field="file",
            hint="is it damaged?",
        ) from error
