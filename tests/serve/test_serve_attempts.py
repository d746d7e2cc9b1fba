from __future__ import annotations

from sslkit.serve.attempts import MOST_CLIENTS, MOST_OF_A_CLIENT, MOST_OF_ALL, WINDOW, Attempts
from sslkit.serve.sessions import LIFETIME, MOST, Sessions


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_client_may_fail_a_few_times_a_window() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for failure in range(MOST_OF_A_CLIENT):
        assert attempts.wait("192.0.2.1") == 0
        attempts.failed("192.0.2.1")
        clock.now += 1 if failure < MOST_OF_A_CLIENT - 1 else 0
    assert attempts.wait("192.0.2.1") == WINDOW - (MOST_OF_A_CLIENT - 1)
    assert attempts.wait("192.0.2.2") == 0
    clock.now += WINDOW - MOST_OF_A_CLIENT
    assert attempts.wait("192.0.2.1") == 1
    clock.now += 1
    assert attempts.wait("192.0.2.1") == 0


def test_success_forgets_a_clients_failures() -> None:
    attempts = Attempts(Clock())
    for _ in range(MOST_OF_A_CLIENT):
        attempts.failed("192.0.2.1")
    attempts.succeeded("192.0.2.1")
    assert attempts.wait("192.0.2.1") == 0


def test_all_clients_together_meet_a_limit_that_success_does_not_lift() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for number in range(MOST_OF_ALL):
        attempts.failed(f"192.0.2.{number}")
    attempts.succeeded("192.0.2.1")
    assert attempts.wait("198.51.100.7") == WINDOW
    clock.now += WINDOW
    assert attempts.wait("198.51.100.7") == 0


def test_addresses_of_one_network_count_as_one_client() -> None:
    attempts = Attempts(Clock())
    for number in range(MOST_OF_A_CLIENT):
        attempts.failed(f"2001:db8:1:2::{number:x}")
    assert attempts.wait("2001:db8:1:2:ffff::1") > 0
    assert attempts.wait("2001:db8:1:3::1") == 0
    for _ in range(MOST_OF_A_CLIENT):
        attempts.failed("::ffff:192.0.2.9")
    assert attempts.wait("192.0.2.9") > 0
    assert attempts.wait("::ffff:192.0.2.8") == 0


def test_the_memory_is_bounded() -> None:
    attempts = Attempts(Clock())
    for number in range(3 * MOST_CLIENTS):
        attempts.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(attempts._of_client) == MOST_CLIENTS
    assert len(attempts._of_all) == MOST_OF_ALL


def test_sessions_end_by_themselves_and_the_oldest_gives_way() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    first = sessions.begin()
    clock.now += LIFETIME - 1
    assert sessions.holds(first)
    clock.now += 1
    assert not sessions.holds(first)
    tokens = [sessions.begin() for _ in range(MOST + 1)]
    assert [sessions.holds(token) for token in tokens] == [False] + [True] * MOST
    assert len(sessions._until) == MOST
    assert not any(token.encode() in key for key in sessions._until for token in tokens)
