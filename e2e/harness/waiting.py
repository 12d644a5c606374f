"""Waiting for what happens in another process."""

import time


def until(condition, what, seconds=60, pause=0.1):
    """The first true value of `condition()`; fails with `what` if there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(pause)
