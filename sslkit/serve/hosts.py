"""By which names a server may be called, and from which pages it may be asked.

A page elsewhere can make a browser send requests here. Under the server's own name such a request tells its origin,
which is refused; under the other page's name, made to lead here (DNS rebinding), it carries that name in ``Host``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from sslkit.errors import UsageError
from sslkit.printable import shown

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def is_loopback(host: str) -> bool:
    """Return whether a name or an address is that of this machine for itself.

    Example:
        >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
        (True, True, True, False)
    """
    address = _address(host)
    return host.lower().rstrip(".") == "localhost" if address is None else address.is_loopback


def called(header: str) -> str:
    """Return the name or address in a ``Host`` header, without its port; empty where it holds none.

    Example:
        >>> called("LocalHost:8000"), called("[::1]:8000"), called("[::1"), called("")
        ('localhost', '::1', '', '')
    """
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def names_of(given: Iterable[str]) -> frozenset[str]:
    """Return the names by which a server may be called, as [called][sslkit.serve.hosts.called] has them.

    Raises:
        UsageError: if one is no name, but a URL or a pattern, or has a port.

    Example:
        >>> names_of(["Eyes.Example.org."])
        frozenset({'eyes.example.org'})
    """
    names = {name: name.lower().rstrip(".") for name in given}
    for name, known in names.items():
        if called(known) != known or not is_name(known):
            nearest = called(name.rpartition("://")[2].partition("/")[0])
            advice = f"; did you mean {nearest!r}?" if is_name(nearest) else "."
            raise UsageError(
                f"--allow-host {shown(name)} is no name{advice} It takes a name alone, such as eyes.example.org: no "
                "https://, no port, no pattern"
            )
    return frozenset(names.values())


def is_name(text: str) -> bool:
    """Return whether text is of the letters that names of machines have."""
    return re.fullmatch(r"[a-z0-9.-]+", text) is not None


def is_known(host: str, names: Collection[str], *, exposed: bool) -> bool:
    """Return whether a server answers to a name.

    An address cannot be the name of another page made to lead here, so an exposed server answers to all of them.
    """
    return is_loopback(host) or host in names or (exposed and _address(host) is not None)


def comes_from_elsewhere(method: str, host: str, origin: str | None, fetch_site: str | None) -> bool:
    """Return whether a request that may change or cost something was sent by a page of another server.

    Args:
        method: of HTTP.
        host: the header as it came.
        origin: the header; None where there is none, as programs other than browsers have it.
        fetch_site: the header ``Sec-Fetch-Site``.
    """
    if method in _SAFE:
        return False
    if fetch_site not in (None, "same-origin"):
        return True
    try:
        return origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    except ValueError:
        return True


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
