"""Where rows are: a file, or an address such as s3://bucket/rows.csv, which fsspec opens.

What is at an address is fetched into a file first, so that a source knows files alone, and a connection
that breaks never breaks half of the rows.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from .errors import DataError, did_you_mean

LOCAL = ("file://", "local://")
CONNECT_SECONDS, SILENT_SECONDS = 10, 30


def is_address(place: str) -> bool:
    return "://" in place


def plain_path(place: str) -> str:
    """`file:///rows.csv` as the path that it is; any other place as it stands."""
    scheme = next((scheme for scheme in LOCAL if place.startswith(scheme)), "")
    return place.removeprefix(scheme)


def file_name(place: str) -> str:
    """The last part of a path or an address, without a query behind it."""
    path = PurePosixPath(urlsplit(place).path) if is_address(place) else PurePath(place)
    return path.name


def address_fault(address: str) -> str | None:
    """Why nothing can be read there, as far as can be told without asking for it."""
    import fsspec

    protocol, known = urlsplit(address).scheme, fsspec.available_protocols()
    if protocol not in known:
        written = address.partition("://")[0]
        return f"{address}: no protocol {written!r}{did_you_mean(written, known)}"
    if urlsplit(address).password:
        return (
            "the address has a password in it, which would be kept with the run: "
            "give it where the protocol's own library looks for it, such as the environment"
        )
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        return f"{protocol}:// needs a package that is not installed: {error}{_to_install(protocol)}"
    return None


def address_fingerprint(address: str) -> str:
    """sha256 of what is told of the file there (size, hash, time of change), without fetching it.

    Raises DataError where nothing can be read.
    """
    with _answering(address):
        filesystem, path = _open(address)
        told = sorted((str(name), str(value)) for name, value in filesystem.info(path).items())
    return hashlib.sha256(repr(told).encode()).hexdigest()


@contextlib.contextmanager
def at_hand(place: str, folder: Path) -> Iterator[str]:
    """The place itself, or the file at an address as one in the new folder `folder`, gone afterwards.

    A DataError raised meanwhile names the address. Raises DataError where nothing can be read.
    """
    if not is_address(place):
        yield place
        return
    folder.mkdir()
    local = folder / file_name(place)
    with _answering(place):
        filesystem, path = _open(place)
        filesystem.get_file(path, str(local))
    try:
        yield str(local)
    except DataError as error:
        raise DataError(str(error).replace(str(local), place)) from None
    finally:
        local.unlink()


def _open(address: str) -> tuple[Any, str]:
    """The file system and the path in it."""
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(address, **_options(address))
    return filesystem, path


def _options(address: str) -> dict[str, Any]:
    """A web server that says nothing is not waited for as long as aiohttp would: five minutes."""
    if not address.startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    limits = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    return {"client_kwargs": {"timeout": limits}}


@contextlib.contextmanager
def _answering(address: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each protocol has a library of its own, and errors of its own
        unfound = isinstance(error, FileNotFoundError) and error.__cause__  # also said where a server fails
        cause = unfound or error
        said = " ".join(f"{type(cause).__name__}: {cause}".split()).removesuffix(":")
        raise DataError(
            f"{address}: nothing can be read there ({said:.300}). Expected a file: check the address, "
            "and that this machine may read it, or name a copy on this machine"
        ) from error


def _to_install(protocol: str) -> str:
    """The package of a file system that is not fsspec's own."""
    from fsspec.registry import known_implementations

    package = known_implementations[protocol]["class"].partition(".")[0]
    return "" if package == "fsspec" else f": pip install {package}"
