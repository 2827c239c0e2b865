"""Answers that a client meets seldom. `GET /asked` says how often each path was asked, and forgets it."""

import http.server
import json
import os
import sys

asked = {}


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/asked":
            seen = dict(asked)
            asked.clear()  # before the answer: the next request may come right behind it
            self.answer(200, seen)
            return
        asked[self.path] = asked.get(self.path, 0) + 1
        is_first = asked[self.path] == 1
        if self.path == "/elsewhere":
            self.answer(302, {}, Location="/stolen")
        elif self.path == "/away":
            self.answer(503, {"title": "away"}, Retry_After="1")
        elif self.path == "/later":
            self.answer(429, {"title": "later"}, Retry_After="86400")
        elif self.path == "/proxy":
            self.answer(502, None)
        elif self.path == "/cut" and is_first:
            self.close_connection = True
        elif self.path == "/busy" and is_first:
            self.answer(503, {"title": "busy"}, Retry_After="1")
        else:
            self.answer(200, {"is": "well"})

    do_POST = do_GET

    def answer(self, status, body, **headers):
        text = b"<html>not JSON</html>" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(server.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
