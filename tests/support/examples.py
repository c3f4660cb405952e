"""How many examples a property gets, so that `make test` stays quick and more can be run at will."""

from hypothesis import settings


def examples(number: int) -> settings:
    """This number, and 20 times as many with `make test ARGS="tests/lua --hypothesis-profile=thorough"`."""
    return settings(max_examples=number * settings().max_examples // 100)
