from nucleus_data.stages.ingest.http.breaker import Breaker


def test_it_opens_longer_each_time_and_then_for_good():
    breaker = Breaker(3)
    assert [breaker.failed() for _ in range(7)] == [None, None, 1, 2, 4, float("inf"), float("inf")]
    assert breaker.probing


def test_a_success_closes_it():
    breaker = Breaker(2)
    breaker.failed()
    breaker.passed()
    assert breaker.failed() is None
    assert breaker.failed() == 1
    breaker.passed()
    assert not breaker.probing
    assert [breaker.failed(), breaker.failed()] == [None, 1]


def test_it_can_be_left_out():
    breaker = Breaker(0)
    assert {breaker.failed() for _ in range(100)} == {None}
