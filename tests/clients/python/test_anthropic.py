"""Anthropic's library."""

import unittest

import anthropic

from support import DOWN, HTTP_SERVER, INVALID, LIMIT, MISSING, NETWORK, SCOPE, TWO, Counted, new_key, outage, revoke

HELLO = [{"role": "user", "content": "hello"}]


def message(key, headers=None, token=None, **options):
    base = f"{HTTP_SERVER}/anthropic"
    client = anthropic.Anthropic(api_key=key, auth_token=token, base_url=base, timeout=20, max_retries=2)
    return client.messages.create(model="m", max_tokens=9, messages=HELLO, extra_headers=headers, **options)


class Anthropic(Counted, unittest.TestCase):
    def refused(self, error, sentence, kind, key, headers=None):
        with self.assertRaises(error) as raised:
            message(key, headers)
        self.assertIn(sentence, str(raised.exception))
        self.assertEqual(raised.exception.body["error"]["message"], sentence)
        self.assertEqual(raised.exception.body["error"]["type"], kind)

    def test_good_key_is_admitted_as_key_and_as_token(self):
        key = new_key("good")
        self.assertEqual(message(key).content[0].text, "hello")
        self.assertEqual(message(None, token=key).content[0].text, "hello")
        self.assert_requests(2)

    def test_invalid_keys_are_authentication_errors_without_retry(self):
        for key in ["sk-wrong", new_key("revoked")]:
            self.refused(anthropic.AuthenticationError, INVALID, "authentication_error", key)
            self.assert_requests(1)

    def test_missing_key_is_told_where_it_belongs(self):
        headers = {"X-Api-Key": anthropic.Omit(), "Authorization": anthropic.Omit()}
        self.refused(anthropic.AuthenticationError, MISSING, "authentication_error", "unused", headers)
        self.assert_requests(1)

    def test_two_keys_are_a_bad_request(self):
        key = new_key("good")
        headers = {"Authorization": f"Bearer {key}", "X-Api-Key": key}
        self.refused(anthropic.BadRequestError, TWO, "invalid_request_error", key, headers)
        self.assert_requests(1)

    def test_lacking_scope_and_other_network_are_permission_errors(self):
        for kind, sentence in [("unscoped", SCOPE), ("elsewhere", NETWORK)]:
            self.refused(anthropic.PermissionDeniedError, sentence, "permission_error", new_key(kind))
            self.assert_requests(1)

    def test_limit_is_retried_after_the_wait(self):
        # Within two seconds there is room for one request. The library's own waits, 0.5 s and 1 s, would be too short.
        key = new_key("limited")
        message(key)
        message(key)
        self.assert_requests(3)

    def test_used_up_quota_is_a_rate_limit_error_without_retry(self):
        # Without the header the library would sleep until tomorrow.
        key = new_key("exhausted")
        message(key)
        self.refused(anthropic.RateLimitError, LIMIT, "rate_limit_error", key)
        self.assert_requests(2)

    def test_outage_is_retried(self):
        outage(1)
        message(new_key("good"))
        self.assert_requests(2)

    def test_outage_that_lasts_is_a_server_error(self):
        outage(3)
        self.refused(anthropic.InternalServerError, DOWN, "overloaded_error", new_key("good"))
        self.assert_requests(3)

    def test_stream_ends_with_its_key(self):
        key = new_key("good")
        events = message(key, stream=True)
        kinds = [next(events).type for _ in range(4)]
        self.assertEqual(kinds, ["message_start", "content_block_start"] + 2 * ["content_block_delta"])
        revoke(key)
        self.assertEqual([event.type for event in events][-1], "message_stop")
        with self.assertRaises(anthropic.AuthenticationError):
            message(key, stream=True)
        self.assert_requests(2)
