"""Requests that boto3 would refuse to make: raw bodies and headers, signed by botocore's own signer."""

import contextlib
import datetime
import http.client
import json
import unittest.mock
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from . import model
from .program import REGION


class Raw:
    """One request, to be changed before or after it is signed."""

    def __init__(self, principal, service, operation, body, region=REGION):
        self.principal, self.service, self.operation, self.region = principal, service, operation, region
        metadata = model.service_model(service).metadata
        self.method, self.path, self.body = "POST", "/", body
        self.headers = {"Host": urllib.parse.urlsplit(principal.url).netloc}
        if metadata["protocol"] == "json":
            self.headers["Content-Type"] = f"application/x-amz-json-{metadata['jsonVersion']}"
            self.headers["X-Amz-Target"] = f"{metadata['targetPrefix']}.{operation}"
        else:
            self.headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"

    @classmethod
    def json(cls, principal, service, operation, value, **more):
        """An AWS JSON call; `value` is bytes, or something to encode."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return cls(principal, service, operation, body, **more)

    @classmethod
    def query(cls, principal, service, operation, form, **more):
        """A Query call; `form` is bytes, or the parameters without Action and Version."""
        if not isinstance(form, bytes):
            version = model.service_model(service).metadata["apiVersion"]
            pairs = {"Action": operation, "Version": version} | form
            form = urllib.parse.urlencode(pairs).encode()
        return cls(principal, service, operation, form, **more)

    def sign(self, secret=None, access_key=None, scope_service=None, scope_region=None, late=0):
        """Signs; `late` is the number of seconds that the signer's clock is ahead."""
        request = self._aws_request()
        with _clock(late):
            self._signer(botocore.auth.SigV4Auth, secret, access_key, scope_service, scope_region).add_auth(request)
        self.headers = dict(request.headers.items())
        return self

    def presign(self, expires=60, late=0, secret=None):
        """Signs by query parameters."""
        request = self._aws_request()
        with _clock(late):
            signer = self._signer(botocore.auth.SigV4QueryAuth, secret, None, None, None, expires=expires)
            signer.add_auth(request)
        self.path = request.url.removeprefix(self.principal.url)
        return self

    def _aws_request(self):
        url = self.principal.url + self.path
        return botocore.awsrequest.AWSRequest(self.method, url, dict(self.headers), self.body)

    def _signer(self, kind, secret, access_key, service, region, **more):
        credentials = botocore.credentials.Credentials(access_key or self.principal.access_key,
                                                       secret or self.principal.secret_key)
        return kind(credentials, service or self.service, region or self.region, **more)

    def send(self):
        """The answer, held to the model of the operation if there is one."""
        address = urllib.parse.urlsplit(self.principal.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(self.method, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in (self.headers | {"Content-Length": str(len(self.body))}).items():
                connection.putheader(name, value)
            connection.endheaders(self.body)
            answered = connection.getresponse()
            body, headers = answered.read(), dict(answered.getheaders())
        if self.operation in model.service_model(self.service).operation_names:
            self.principal.answers.check(self.service, self.operation, answered.status, headers, body)
        return Answer(answered.status, headers, body)


class Answer:
    """Status, headers and body of an answer, and the error in it."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        """The error's name; `None` for a success."""
        if self.status < 300:
            return None
        if self.body.startswith(b"{"):
            return json.loads(self.body).get("__type")
        return self._between(b"<Code>", b"</Code>")

    @property
    def message(self):
        """The error's text, if it has one."""
        if self.body.startswith(b"{"):
            answer = json.loads(self.body)
            return answer.get("message", answer.get("Message"))
        return self._between(b"<Message>", b"</Message>")

    def _between(self, before, after):
        inside = self.body.partition(before)[2].partition(after)[0]
        return inside.decode() if after in self.body else None

    def __repr__(self):
        return f"{self.status} {self.body[:500]!r}"


@contextlib.contextmanager
def _clock(late):
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=late)
    with unittest.mock.patch("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: (
            now.replace(tzinfo=None) if remove_tzinfo else now)):
        yield
