"""Idempotency keys: remembered after success, by client, as hashes, and bounded."""

from __future__ import annotations

import sys

import pytest

from service.http.errors import ProblemError
from service.http.idempotency import IdempotencyMemory


def use(memory: IdempotencyMemory, client: str, key: str, body: str) -> None:
    with memory.use(client, key, body):
        pass


def test_a_key_belongs_to_its_first_body() -> None:
    memory = IdempotencyMemory()
    use(memory, "a", "key", "one")
    use(memory, "a", "key", "one")
    with pytest.raises(ProblemError) as caught:
        use(memory, "a", "key", "two")
    assert (caught.value.status, caught.value.field) == (422, "Idempotency-Key")
    assert len(memory) == 1


def test_keys_of_one_client_do_not_block_those_of_another() -> None:
    memory = IdempotencyMemory()
    use(memory, "a", "key", "one")
    use(memory, "b", "key", "two")
    assert len(memory) == 2


def test_a_refused_request_does_not_use_its_key_up() -> None:
    memory = IdempotencyMemory()
    with pytest.raises(ValueError, match="refused"), memory.use("a", "key", "wrong"):
        raise ValueError("refused")
    assert len(memory) == 0
    use(memory, "a", "key", "right")


def test_a_key_is_taken_while_its_request_is_under_way() -> None:
    memory = IdempotencyMemory()
    with memory.use("a", "key", "one"):
        use(memory, "a", "key", "one")  # the same request, repeated
        with pytest.raises(ProblemError):
            use(memory, "a", "key", "two")
    assert memory._under_way == {}


def test_a_client_with_very_many_keys_loses_its_own() -> None:
    memory = IdempotencyMemory(max_keys=100, max_per_client=60)
    use(memory, "quiet", "key", "one")
    for number in range(1000):
        for client in ("loud", "louder"):
            use(memory, client, f"key {number}", "x" * 10_000)
            assert len(memory) <= 100
    with pytest.raises(ProblemError):
        use(memory, "quiet", "key", "two")
    use(memory, "loud", "key 0", "another body")  # forgotten
    kept = memory._clients["loud"]
    assert len(kept) <= 60
    assert all(sys.getsizeof(entry) < 100 for pair in kept.items() for entry in pair)


def test_no_key_means_nothing() -> None:
    memory = IdempotencyMemory()
    with memory.use("a", None, "one"), memory.use("a", None, "two"):
        pass
    assert len(memory) == 0
