"""Tries the client of docs/authentication.md, which is in the working folder."""

import os
import sys

sys.path.insert(0, os.getcwd())
from client import Client, Refused  # noqa: E402

answers = Client(f"http://127.0.0.1:{sys.argv[1]}", "a key")


def status(method, path, **options):
    """How a call ends, and how many requests it took."""
    try:
        answers.call(method, path, **options)
        end = 200
    except Refused as refused:
        end = refused.status
    except OSError:
        end = None
    return end, answers.call("GET", "/asked")[0]


for call, expected in [
    (status("GET", "/elsewhere"), (302, {"/elsewhere": 1})),  # and nobody got the key at the other place
    (status("GET", "/busy"), (200, {"/busy": 2})),
    (status("POST", "/busy"), (503, {"/busy": 1})),
    (status("POST", "/busy", once="one"), (200, {"/busy": 2})),
    (status("GET", "/cut"), (200, {"/cut": 2})),
    (status("POST", "/cut"), (None, {"/cut": 1})),
    (status("GET", "/away"), (503, {"/away": 3})),
    (status("GET", "/later"), (429, {"/later": 1})),
    (status("GET", "/proxy"), (502, {"/proxy": 1})),
]:
    assert call == expected, (call, expected)

slow = Client(sys.argv[2], open("slow.key").read().strip())
for _ in range(3):  # of a key with one request a second
    assert [row["name"] for row in slow.rows("/keys")] == ["slow"]
operator = Client(sys.argv[2], open("operator.key").read().strip())
by_pages = [row["id"] for row in operator.rows("/organizations", limit=1)]
assert len(by_pages) > 2 and by_pages == [row["id"] for row in operator.rows("/organizations")], by_pages
print("Python: all answers are handled")
