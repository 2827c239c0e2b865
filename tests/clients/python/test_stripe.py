"""Stripe's library, and keys as a user name, which Stripe's own documentation shows for curl."""

import asyncio
import unittest

import httpx
import stripe

from support import DOWN, HTTP_SERVER, INVALID, LIMIT, NETWORK, SCOPE, TWO, Counted, new_key, outage, revoke

BASE = f"{HTTP_SERVER}/stripe"
CUSTOMER = f"{BASE}/v1/customers/cus_1"
MISSING = "An API key is required, and the request has none. Send it as `Authorization: Bearer` or as `Authorization: Basic`."

stripe.enable_telemetry = False


def client(key):
    addresses = {"api": BASE, "files": BASE, "connect": BASE, "meter_events": BASE}
    return stripe.StripeClient(key, base_addresses=addresses, max_network_retries=2)


def customer(key):
    return client(key).v1.customers.retrieve("cus_1")


def customer_async(key):
    """By another HTTP client, and with retries of its own."""
    return asyncio.run(client(key).v1.customers.retrieve_async("cus_1"))


def quote(key):
    return client(key).v1.quotes.pdf("qt_1")


def quote_async(key):
    return asyncio.run(client(key).v1.quotes.pdf_async("qt_1"))


BOTH = [customer, customer_async]


class Stripe(Counted, unittest.TestCase):
    def refused(self, error, sentence, key, ask=customer):
        with self.assertRaises(error) as raised:
            ask(key)
        # Not a subclass: Stripe's errors have one base.
        self.assertIs(type(raised.exception), error)
        self.assertEqual(raised.exception.user_message, sentence)

    def test_good_key_is_admitted(self):
        for ask in BOTH:
            self.assertEqual(ask(new_key("good")).id, "cus_1")
            self.assert_requests(1)

    def test_invalid_keys_are_authentication_errors_without_retry(self):
        for key in ["sk_wrong", new_key("revoked")]:
            for ask in [*BOTH, quote, quote_async]:
                self.refused(stripe.AuthenticationError, INVALID, key, ask)
                self.assert_requests(1)

    def test_lacking_scope_and_other_network_are_permission_errors(self):
        for kind, sentence in [("unscoped", SCOPE), ("elsewhere", NETWORK)]:
            for ask in BOTH:
                self.refused(stripe.PermissionError, sentence, new_key(kind), ask)
                self.assert_requests(1)

    def test_limits_are_rate_limit_errors_without_retry(self):
        for kind in ["limited", "exhausted"]:
            for ask in BOTH:
                key = new_key(kind)
                ask(key)
                self.refused(stripe.RateLimitError, LIMIT, key, ask)
                self.assert_requests(2)

    def test_outage_is_retried(self):
        for ask in BOTH:
            outage(1)
            ask(new_key("good"))
            self.assert_requests(2)

    def test_outage_that_lasts_is_an_api_error(self):
        for ask in BOTH:
            outage(3)
            self.refused(stripe.APIError, DOWN, new_key("good"), ask)
            self.assert_requests(3)

    def test_stream_ends_with_its_key(self):
        key = new_key("good")
        stream = quote(key).io
        self.assertEqual(stream.read(10), b"%PDF\n%PDF\n")
        revoke(key)
        self.assertTrue(stream.read().endswith(b"%%EOF\n"))
        self.refused(stripe.AuthenticationError, INVALID, key, quote)
        self.assert_requests(2)

    def test_key_as_user_name_is_admitted(self):
        key = new_key("good")
        self.assertEqual(httpx.get(CUSTOMER, auth=(key, "")).json()["id"], "cus_1")
        unscoped = httpx.get(CUSTOMER, auth=(new_key("unscoped"), ""))
        self.assertEqual((unscoped.status_code, unscoped.json()["error"]["message"]), (403, SCOPE))
        wrong = httpx.get(CUSTOMER, auth=("sk_wrong", ""))
        self.assertEqual((wrong.status_code, wrong.json()["error"]["message"]), (401, INVALID))
        self.assertEqual(wrong.headers["stripe-should-retry"], "false")

    def test_missing_key_is_told_where_it_belongs(self):
        answer = httpx.get(CUSTOMER)
        self.assertEqual((answer.status_code, answer.json()["error"]["message"]), (401, MISSING))
        # No challenge for Basic: a browser would ask for a password, and keep and send it.
        self.assertEqual(answer.headers.get_list("www-authenticate"), ['Bearer realm="api"'])

    def test_two_keys_are_a_bad_request(self):
        key = new_key("good")
        lines = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]
        answer = httpx.get(CUSTOMER, headers=lines)
        # nginx refuses a second line itself.
        self.assertEqual(answer.status_code, 400)
        if answer.headers["content-type"] == "application/json":
            self.assertEqual(answer.json()["error"]["message"], TWO)
