"""OpenAI's library."""

import unittest

import openai

from support import DOWN, HTTP_SERVER, INVALID, LIMIT, MISSING, NETWORK, SCOPE, Counted, new_key, outage, revoke

HELLO = [{"role": "user", "content": "hello"}]


def chat(key, headers=None, **options):
    client = openai.OpenAI(api_key=key, base_url=f"{HTTP_SERVER}/openai/v1", timeout=20, max_retries=2)
    return client.chat.completions.create(model="m", messages=HELLO, extra_headers=headers, **options)


class OpenAi(Counted, unittest.TestCase):
    def refused(self, error, sentence, key, code, headers=None):
        with self.assertRaises(error) as raised:
            chat(key, headers)
        self.assertIn(sentence, str(raised.exception))
        self.assertEqual(raised.exception.body["message"], sentence)
        self.assertEqual(raised.exception.code, code)

    def test_good_key_is_admitted(self):
        self.assertEqual(chat(new_key("good")).choices[0].message.content, "hello")
        self.assert_requests(1)

    def test_invalid_keys_are_authentication_errors_without_retry(self):
        for key in ["sk-wrong", new_key("revoked")]:
            self.refused(openai.AuthenticationError, INVALID, key, "invalid_api_key")
            self.assert_requests(1)

    def test_missing_key_is_told_where_it_belongs(self):
        headers = {"Authorization": openai.Omit()}
        self.refused(openai.AuthenticationError, MISSING, "unused", None, headers)
        self.assert_requests(1)

    def test_lacking_scope_and_other_network_are_permission_errors(self):
        for kind, sentence in [("unscoped", SCOPE), ("elsewhere", NETWORK)]:
            self.refused(openai.PermissionDeniedError, sentence, new_key(kind), "insufficient_permissions")
            self.assert_requests(1)

    def test_network_of_the_client_is_seen(self):
        chat(new_key("here"))

    def test_limit_is_retried_after_the_wait(self):
        # Within two seconds there is room for one request. The library's own waits, 0.5 s and 1 s, would be too short.
        key = new_key("limited")
        chat(key)
        chat(key)
        self.assert_requests(3)

    def test_used_up_quota_is_a_rate_limit_error_without_retry(self):
        key = new_key("exhausted")
        chat(key)
        self.refused(openai.RateLimitError, LIMIT, key, "insufficient_quota")
        self.assert_requests(2)

    def test_outage_is_retried(self):
        outage(1)
        chat(new_key("good"))
        self.assert_requests(2)

    def test_outage_that_lasts_is_a_server_error(self):
        outage(3)
        self.refused(openai.InternalServerError, DOWN, new_key("good"), None)
        self.assert_requests(3)

    def test_stream_ends_with_its_key(self):
        key = new_key("good")
        chunks = chat(key, stream=True)
        for _ in range(3):
            self.assertEqual(next(chunks).choices[0].delta.content, "tick")
        revoke(key)
        for _ in chunks:
            pass
        with self.assertRaises(openai.AuthenticationError):
            chat(key, stream=True)
        self.assert_requests(2)
