"""The pauses between restarts."""

from hypothesis import given
from hypothesis import strategies as st

from limiter.api.backoff import Backoff


def test_pauses_double_up_to_a_maximum():
    backoff = Backoff(first=0.5, longest=3)
    assert [backoff.pause_after(0) for _ in range(5)] == [0.5, 1, 2, 3, 3]


@given(st.lists(st.floats(0, 59)))
def test_a_good_run_starts_over(runs):
    backoff = Backoff(good_run=60)
    for ran_for in runs:
        backoff.pause_after(ran_for)
    assert (backoff.pause_after(60), backoff.pause_after(0)) == (0.5, 1)
