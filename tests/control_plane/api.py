"""A small client of the Kubernetes API: JSON over HTTPS with a bearer token, and watches."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

Json = dict[str, Any]
WATCH_S = 600.0  # silence after which a watch is opened anew; the server sends bookmarks every minute
PATCH = "application/merge-patch+json"


class ApiError(RuntimeError):
    """An answer other than 2xx."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Api:
    """One API server on this machine. Its certificate is self-signed and made for this run: not verified."""

    port: int
    token: str

    def call(self, method: str, path: str, body: Json | None = None, *, kind: str = "application/json") -> Json:
        """One request; the answer as JSON. Raises ApiError, or OSError when nobody listens."""
        connection = self._connect(30.0)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers(kind))
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise ApiError(answer.status, _message(text))
        return json.loads(text) if text[:1] == "{" else {"text": text}

    def get(self, path: str) -> Json:
        return self.call("GET", path)

    def create(self, path: str, body: Json) -> Json:
        return self.call("POST", path, body)

    def patch(self, path: str, body: Json) -> Json:
        return self.call("PATCH", path, body, kind=PATCH)

    def delete(self, path: str) -> Json:
        return self.call("DELETE", path)

    def watch(self, path: str, stop: threading.Event) -> Iterator[tuple[str, Json]]:
        """(ADDED | MODIFIED | DELETED, object), what is there already first; ends with the server once `stop` is set.

        After a broken connection everything is listed again, and what is missing from the list was DELETED.
        """
        known: dict[str, Json] = {}
        while not stop.is_set():
            try:
                for what, thing in self._watch_once(path, known):
                    uid = thing["metadata"]["uid"]
                    known.pop(uid, None) if what == "DELETED" else known.update({uid: thing})
                    yield what, thing
            except (OSError, ApiError, http.client.HTTPException, json.JSONDecodeError):
                stop.wait(0.5)

    def _watch_once(self, path: str, known: dict[str, Json]) -> Iterator[tuple[str, Json]]:
        listing = self.get(path)
        there = {thing["metadata"]["uid"]: thing for thing in listing["items"]}
        yield from [("DELETED", thing) for uid, thing in known.items() if uid not in there]
        yield from (("MODIFIED" if uid in known else "ADDED", thing) for uid, thing in list(there.items()))
        revision = listing["metadata"]["resourceVersion"]
        query = {"watch": "1", "resourceVersion": revision, "allowWatchBookmarks": "true", "timeoutSeconds": "86400"}
        connection = self._connect(WATCH_S)
        try:
            connection.request("GET", f"{path}?{urlencode(query)}", None, self._headers("application/json"))
            yield from _watched(connection.getresponse())
        finally:
            connection.close()

    def wait_ready(self, timeout_s: float, alive: threading.Event | None = None) -> None:
        """Until /readyz answers. Raises TimeoutError."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and not (alive and alive.is_set()):
            try:
                self.call("GET", "/readyz")
                return
            except (OSError, ApiError, http.client.HTTPException):
                time.sleep(0.1)
        raise TimeoutError(f"the API server was not ready after {timeout_s:.0f} s")

    def _connect(self, timeout_s: float) -> http.client.HTTPSConnection:
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=context)

    def _headers(self, kind: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Content-Type": kind, "Accept": "application/json"}


def _watched(answer: http.client.HTTPResponse) -> Iterator[tuple[str, Json]]:
    """Events of one open watch, until the server ends it or says that the revision is too old."""
    if answer.status != 200:
        raise ApiError(answer.status, "watch refused")
    buffer = b""
    while piece := answer.read1(1 << 16):
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in filter(None, lines):
            event = json.loads(line)
            if event["type"] == "ERROR":
                return
            if event["type"] != "BOOKMARK":
                yield event["type"], event["object"]


def _message(text: str) -> str:
    try:
        return str(json.loads(text).get("message", text))[:500]
    except (json.JSONDecodeError, AttributeError):
        return text[:500]
