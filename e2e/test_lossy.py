"""What the tests themselves leave behind when they are killed."""

import os
import shutil

from harness import lossy


def test_a_store_whose_process_was_killed_is_taken_down_by_the_next_run_and_no_other():
    dead, living = lossy.Store(), lossy.Store()
    try:
        dead.process.kill()
        dead.process.wait()
        assert str(dead.path) in _mounts()
        assert dead.path in lossy.clear_leftovers()
        assert str(dead.path) not in _mounts() and not dead.scratch.exists()
        assert living.path not in lossy.clear_leftovers()
        assert living.is_on() and os.listdir(living.path) == []
    finally:
        living.close()
        shutil.rmtree(dead.scratch, ignore_errors=True)


def _mounts():
    with open("/proc/self/mountinfo") as file:
        return {line.split(" ")[4] for line in file}
