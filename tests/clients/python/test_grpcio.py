"""grpcio, with the standard health service. Its messages are written by hand, so no generated code is needed."""

import json
import unittest

import grpc

from support import DOWN, GRPC_SERVER, INVALID, LIMIT, MISSING, NETWORK, TWO, Counted, new_key, outage

SERVING = b"\x08\x01"
RETRIES = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "0.05s",
                    "backoffMultiplier": 1,
                    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
                },
            }
        ]
    }
)
UNCHANGED = {"request_serializer": bytes, "response_deserializer": bytes}


class Grpcio(Counted, unittest.TestCase):
    def setUp(self):
        super().setUp()
        options = [("grpc.service_config", RETRIES), ("grpc.enable_http_proxy", 0)]
        channel = grpc.insecure_channel(GRPC_SERVER, options=options)
        self.addCleanup(channel.close)
        self.call = channel.unary_unary("/grpc.health.v1.Health/Check", **UNCHANGED)
        self.watch = channel.unary_stream("/grpc.health.v1.Health/Watch", **UNCHANGED)

    def check(self, *metadata, timeout=20):
        return self.call(b"", metadata=metadata, timeout=timeout)

    def refused(self, code, sentence, *metadata):
        with self.assertRaises(grpc.RpcError) as raised:
            self.check(*metadata)
        self.assertEqual((raised.exception.code(), raised.exception.details()), (code, sentence))

    def test_good_key_is_admitted_in_both_places(self):
        key = new_key("good")
        self.assertEqual(self.check(("authorization", f"Bearer {key}")), SERVING)
        self.assertEqual(self.check(("x-api-key", key)), SERVING)
        self.assert_requests(2)

    def test_invalid_keys_are_unauthenticated(self):
        for key in ["wrong", new_key("revoked")]:
            self.refused(grpc.StatusCode.UNAUTHENTICATED, INVALID, ("x-api-key", key))

    def test_missing_key_is_told_where_it_belongs(self):
        self.refused(grpc.StatusCode.UNAUTHENTICATED, MISSING)

    def test_two_keys_are_an_invalid_argument(self):
        key = new_key("good")
        metadata = [("x-api-key", key), ("authorization", f"Bearer {key}")]
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, TWO, *metadata)
        self.assert_requests(1)

    def test_networks_are_those_of_the_client(self):
        self.assertEqual(self.check(("x-api-key", new_key("here"))), SERVING)
        self.refused(grpc.StatusCode.PERMISSION_DENIED, NETWORK, ("x-api-key", new_key("elsewhere")))

    def test_limit_is_retried_after_the_wait(self):
        # Within two seconds there is room for one request. The policy's own waits would be too short.
        key = ("x-api-key", new_key("limited"))
        self.assertEqual(self.check(key), SERVING)
        self.assertEqual(self.check(key), SERVING)
        self.assert_requests(3)

    def test_used_up_quota_is_told_without_retry(self):
        key = ("x-api-key", new_key("exhausted"))
        self.assertEqual(self.check(key), SERVING)
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, LIMIT, key)
        self.assert_requests(2)

    def test_outage_is_retried(self):
        outage(1)
        self.assertEqual(self.check(("x-api-key", new_key("good"))), SERVING)
        self.assert_requests(2)

    def test_outage_that_lasts_is_unavailable(self):
        outage(3)
        self.refused(grpc.StatusCode.UNAVAILABLE, DOWN, ("x-api-key", new_key("good")))
        self.assert_requests(3)

    def test_stream_begins_for_a_good_key_only(self):
        watched = self.watch(b"", metadata=[("x-api-key", new_key("good"))], timeout=20)
        self.assertEqual(next(watched), SERVING)
        watched.cancel()
        with self.assertRaises(grpc.RpcError) as raised:
            next(self.watch(b"", metadata=[("x-api-key", "wrong")], timeout=20))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
