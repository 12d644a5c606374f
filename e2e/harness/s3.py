"""As much of S3 as an object store client needs, in memory: objects, lists, deletions, and the checks that S3 makes."""

import base64
import hashlib
import http.server
import threading
import urllib.parse
import xml.etree.ElementTree as xml
from email.utils import formatdate
from xml.sax.saxutils import escape

import botocore.auth
import botocore.awsrequest
import botocore.credentials

ACCESS_KEY = "AKIAS3S3S3S3S3S3S3S3"
SECRET_KEY = "s3SecretS3Secret/s3SecretS3Secret/s3Secr"
REGION = "eu-central-1"


class Bucket:
    """A bucket behind a port of its own. While it is `broken`, it answers every request with an error."""

    def __init__(self, name="snapshots"):
        self.name, self.objects, self.broken, self.refused = name, {}, False, []
        handler = type("Handler", (_Handler,), {"bucket": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        bucket, _, key = urllib.parse.unquote(url.path).lstrip("/").partition("/")
        if self.bucket.broken:
            return self.answer(500)
        wrong = self.wrong(bucket, body)
        if wrong:
            self.bucket.refused.append(wrong)
            return self.answer(403, f"<Error><Code>AccessDenied</Code><Message>{wrong}</Message></Error>".encode())
        return getattr(self, "on_" + self.command)(key, query, body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

    def wrong(self, bucket, body):
        """What is wrong with a request, if anything: the signature is computed anew, by AWS's own library."""
        if bucket != self.bucket.name:
            return "another bucket"
        signed = self.headers.get("Authorization", "")
        if f"Credential={ACCESS_KEY}/" not in signed or f"/{REGION}/s3/aws4_request" not in signed:
            return "another credential"
        names = signed.split("SignedHeaders=")[1].split(",")[0].split(";")
        request = botocore.awsrequest.AWSRequest(
            self.command, f"http://{self.headers['Host']}{self.path}", {name: self.headers[name] for name in names}, body)
        signer = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION)
        request.context["timestamp"] = self.headers["x-amz-date"]
        query = urllib.parse.urlsplit(self.path).query
        canonical = "\n".join([
            self.command, urllib.parse.urlsplit(self.path).path,
            "&".join(sorted(part if "=" in part else part + "=" for part in query.split("&")) if query else ()),
            "".join(f"{name}:{self.headers[name].strip()}\n" for name in names), ";".join(names),
            self.headers["x-amz-content-sha256"]])
        if not signed.endswith(signer.signature(signer.string_to_sign(request, canonical), request)):
            return "the signature does not fit"
        claimed = self.headers["x-amz-content-sha256"]
        if claimed not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return "the payload does not fit"
        checksum = self.headers.get("x-amz-checksum-sha256")
        if checksum and base64.b64decode(checksum) != hashlib.sha256(body).digest():
            return "the checksum does not fit"
        return None

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if self.command != "HEAD":
            headers.setdefault("Content_Length", str(len(body)))
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def on_PUT(self, key, query, body):
        if self.headers.get("If-None-Match") == "*" and key in self.bucket.objects:
            return self.answer(412)
        assert not query, query
        self.bucket.objects[key] = body
        return self.answer(200, ETag=_etag(body))

    def on_GET(self, key, query, _):
        if not key:
            return self.list(query)
        body = self.bucket.objects.get(key)
        if body is None:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        return self.answer(200, body, ETag=_etag(body), Last_Modified=formatdate(usegmt=True))

    def on_HEAD(self, key, _query, _body):
        body = self.bucket.objects.get(key)
        if body is None:
            return self.answer(404)
        return self.answer(200, ETag=_etag(body), Last_Modified=formatdate(usegmt=True), Content_Length=str(len(body)))

    def on_DELETE(self, key, _query, _body):
        self.bucket.objects.pop(key, None)
        return self.answer(204)

    def on_POST(self, _key, query, body):
        assert list(query) == ["delete"], query
        space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
        keys = [found.text for found in xml.fromstring(body).iter() if found.tag.removeprefix(space) == "Key"]
        for key in keys:
            self.bucket.objects.pop(key, None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return self.answer(200, f'<DeleteResult xmlns="{space[1:-1]}">{deleted}</DeleteResult>'.encode())

    def list(self, query):
        """ListObjectsV2, two a page, so that pages are followed."""
        assert query.get("list-type") == "2", query
        keys = sorted(key for key in self.bucket.objects if key.startswith(query.get("prefix", "")))
        keys = [key for key in keys if key > query.get("continuation-token", "")]
        page, more = keys[:2], len(keys) > 2
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.bucket.objects[key])}</Size>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{_etag(self.bucket.objects[key])}</ETag></Contents>"
            for key in page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        answer = f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{contents}{token}</ListBucketResult>"
        return self.answer(200, answer.encode(), Content_Type="application/xml")


def _etag(body):
    return f'"{hashlib.md5(body).hexdigest()}"'
