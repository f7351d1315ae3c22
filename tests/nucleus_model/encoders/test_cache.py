import numpy as np

from nucleus_model.encoders.cache import Cache


def test_a_cache_keeps_its_limit_and_what_was_asked_for_last():
    cache = Cache(100)
    made = []

    def value(key, size):
        return cache.get(key, lambda: made.append(key) or np.zeros(size, np.uint8))

    for key in ("a", "b"):
        value(key, 40)
    value("a", 40)
    value("c", 40)  # b leaves
    assert (cache.bytes, len(cache), "b" in cache, "a" in cache) == (80, 2, False, True)
    value("large", 200)  # larger than all the room: given, not kept
    assert (cache.bytes, len(cache)) == (0, 0)
    assert made == ["a", "b", "c", "large"]
