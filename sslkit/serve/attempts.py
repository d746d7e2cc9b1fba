"""Failed attempts to sign in: few a client, and not many of all clients together."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict, deque
from collections.abc import Callable

WINDOW = 300.0
"""Seconds for which a failure counts."""

MOST_OF_A_CLIENT = 5
MOST_OF_ALL = 100
"""Failures in a window. At a hundred each five minutes, a secret of twelve letters is safe for ages."""

MOST_CLIENTS = 1024
"""That are remembered; whoever changes address more often meets the limit for all."""


class Attempts:
    """Counts failures, by client and in all, in bounded memory.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._of_client: OrderedDict[str, deque[float]] = OrderedDict()
        self._of_all: deque[float] = deque(maxlen=MOST_OF_ALL)

    def wait(self, client: str) -> int:
        """Return the seconds until a client may try again; 0: now."""
        now = self._clock()
        own = self._of_client.get(_network(client), deque())
        limits = ((own, MOST_OF_A_CLIENT), (self._of_all, MOST_OF_ALL))
        waits = [times[-most] + WINDOW - now for times, most in limits if len(times) >= most]
        return max(0, *(math.ceil(seconds) for seconds in waits), 0)

    def failed(self, client: str) -> None:
        """Count a failure."""
        now, network = self._clock(), _network(client)
        self._of_all.append(now)
        self._of_client.setdefault(network, deque(maxlen=MOST_OF_A_CLIENT)).append(now)
        self._of_client.move_to_end(network)
        while len(self._of_client) > MOST_CLIENTS:
            self._of_client.popitem(last=False)

    def succeeded(self, client: str) -> None:
        """Forget a client's failures."""
        self._of_client.pop(_network(client), None)


def _network(client: str) -> str:
    """Return what counts as one client: an IPv4 address, or the 64 bits of an IPv6 network that one household has."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)
