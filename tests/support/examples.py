"""How many examples a property gets."""

from hypothesis import settings


def examples(number: int) -> settings:
    """This number, and 20 times as many under the profile `thorough`."""
    return settings(max_examples=number * settings().max_examples // 100)
