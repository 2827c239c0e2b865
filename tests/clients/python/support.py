"""The server under test, and the sentences of its refusals."""

import os
import urllib.parse
import urllib.request

HTTP_SERVER = os.environ["HTTP_SERVER"]
GRPC_SERVER = os.environ["GRPC_SERVER"]

MISSING = "An API key is required, and the request has none. Send it as `Authorization: Bearer` or in `x-api-key`."
INVALID = "The API key is not valid."
TWO = "Send one API key, in one place."
SCOPE = "The API key lacks the scope that this needs."
NETWORK = "The API key may not be used from this network."
LIMIT = "A rate limit of the API key or of its organization is exhausted."
DOWN = "The API key cannot be checked at the moment."


def control(path, **query):
    url = f"{os.environ['CONTROL']}/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def new_key(kind):
    return control("key", kind=kind)


def revoke(key):
    control("revoke", key=key)


def outage(loads):
    """The store fails for as many loads."""
    control("outage", loads=loads)


def requests():
    """How many requests came since the last call."""
    return int(control("requests"))


class Counted:
    """Mix-in: a test counts the requests that it sends."""

    def setUp(self):
        requests()

    def assert_requests(self, count):
        self.assertEqual(requests(), count)
