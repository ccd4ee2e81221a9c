"""A server that answers sums, mostly right: a teacher for tests, whose debates teach in no time."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    key: str

    def do_POST(self) -> None:
        if self.headers["Authorization"] != f"Bearer {self.key}":
            self.send_error(401)
            return
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = "\n".join(str(message["content"]) for message in asked["messages"])
        asked_sum = re.search(r"What is ([-+ \d]+)\?", text)[1]
        terms = asked_sum.replace(" ", "").replace("-", "+-").split("+")
        drawn = hashlib.sha256(f"{text} {asked.get('seed')}".encode()).digest()[0]
        total = sum(map(int, terms)) + (drawn % 3 == 0)
        reply = f"{asked_sum} = {total}.\nThe answer is {total}."
        body = {
            "choices": [{"message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 20},
        }
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(key: str) -> Iterator[str]:
    """Its base URL; who does not know the key gets no answer."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Locked", (Handler,), {"key": key}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
