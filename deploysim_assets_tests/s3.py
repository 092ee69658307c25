"""An S3 server (moto's) on a port of this machine, that can be told to misbehave."""

import io
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from deploysim_assets.storage.buckets import Bucket

BUCKET = "bucket-of-tests"
_SOON = {"init_backoff": timedelta(milliseconds=5), "max_backoff": timedelta(milliseconds=9)}
Fault = Callable[[str, str], str | None]
"""Method and path (with query) of a request -> how it goes wrong, or None."""


class S3:
    """The server. `fault` is asked at each request; `requests` counts them by method."""

    def __init__(self, port: int, app: Any) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self._app, self._lock = app, threading.Lock()
        self.fault: Fault = lambda _method, _path: None
        self.requests: list[tuple[str, str]] = []
        self._listings: dict[str, tuple[str, list[Any], bytes]] = {}

    def url(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key-of-tests",
            "AWS_SECRET_ACCESS_KEY": "secret-of-tests",
            "AWS_REGION": "us-east-1",
        }

    def hold(self, keys: Iterable[str]) -> None:
        """Empty objects under some keys, without a request for each."""
        from moto.s3.models import s3_backends

        for key in keys:
            s3_backends["123456789012"]["aws"].put_object(BUCKET, key, b"")

    def _answer(self, environ: dict[str, Any]) -> tuple[str, list[Any], bytes]:
        said: list[Any] = []

        def start(status: str, headers: list[Any], *_: Any) -> Callable[[bytes], object]:
            said[:] = [status, headers]
            return lambda _: None

        with self._lock:  # a bucket does one thing at a time; moto's backend is only nearly so
            body = b"".join(self._app(environ, start))
        return said[0], said[1], body

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
        path = environ["PATH_INFO"] + (f"?{query}" if query else "")
        self.requests.append((method, path))
        fault = self.fault(method, path)
        if fault in ("500", "503", "412"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(f"{fault} Fault", [("Content-Length", "0")])
            return [b""]
        if fault and fault.startswith("slow "):
            time.sleep(float(fault.split()[1]))
        if fault == "stale listing" and path in self._listings:
            status, headers, body = self._listings[path]
        else:
            status, headers, body = self._answer(environ)
            if "list-type" in query:
                self._listings[path] = status, headers, body
        if fault == "done, then 500":
            start("500 Fault", [("Content-Length", "0")])
            return [b""]
        if fault == "done, then nothing":
            environ["werkzeug.socket"].shutdown(2)
            return [b""]
        if fault == "flipped":
            body = bytes([body[0] ^ 1]) + body[1:]
        start(status, headers)
        return [body[: len(body) // 2]] if fault == "cut" else [body]


@contextmanager
def served(retries: int | None = None) -> Generator[S3]:
    """The server with its bucket, and its address and keys in the environment. A request that fails
    is tried so often again, at once; by default as in production."""
    pytest.importorskip("obstore", reason="a bucket needs pip install 'deploysim[dev]'")
    pytest.importorskip("moto", reason="the S3 server needs pip install 'deploysim[dev]'")
    import logging

    from moto.server import create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = make_server("127.0.0.1", 0, lambda *_: iter(()), threaded=True)
    s3 = S3(server.server_port, create_backend_app("s3"))
    server.app = s3
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patched:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                patched.delenv(name)
        for name, value in s3.environment.items():
            patched.setenv(name, value)
        if retries is not None:
            patched.setattr(Bucket, "retry", {"max_retries": retries, "backoff": _SOON})
        scope = "key/20260101/us-east-1/s3/aws4_request"
        environ = {
            "REQUEST_METHOD": "PUT", "PATH_INFO": f"/{BUCKET}", "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1", "SERVER_PORT": str(server.server_port),
            "HTTP_HOST": f"127.0.0.1:{server.server_port}", "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(), "CONTENT_LENGTH": "0", "wsgi.errors": io.StringIO(),
            "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential={scope}",
        }  # fmt: skip
        status, _, said = s3._answer(environ)
        assert status.startswith("200"), said
        yield s3
    server.shutdown()
    thread.join()
    server.server_close()
