"""Expected refusals."""

import contextlib

import botocore.exceptions
import pytest


class Refusal:
    """The error of a call, known once the block has ended."""

    response = None

    @property
    def code(self):
        return self.response["Error"]["Code"]

    @property
    def message(self):
        return self.response["Error"].get("Message", "")


@contextlib.contextmanager
def refused(code=None, text=None):
    """The block's call must be refused: with this code and this text, where they are given."""
    refusal = Refusal()
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        yield refusal
    refusal.response = caught.value.response
    assert code in (None, refusal.code), caught.value
    assert text is None or text in refusal.message, refusal.message
