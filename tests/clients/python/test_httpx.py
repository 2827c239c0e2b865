"""httpx, a client that knows no API: the default answers, problem details."""

import time
import unittest

import httpx

from support import DOWN, HTTP_SERVER, INVALID, LIMIT, MISSING, Counted, new_key, outage, revoke

URL = f"{HTTP_SERVER}/plain"


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


class Httpx(Counted, unittest.TestCase):
    def refused(self, answer, status, sentence):
        self.assertEqual(answer.status_code, status)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(answer.json()["detail"], sentence)

    def test_key_is_taken_from_both_places_and_removed(self):
        key = new_key("good")
        for headers in [bearer(key), {"X-Api-Key": key}, {"authorization": f"bearer   {key}"}]:
            answer = httpx.get(URL, headers=headers)
            self.assertEqual(answer.status_code, 200)
            self.assertFalse(answer.json()["sees_key"])
            self.assertEqual(answer.headers["cache-control"], "private")
            self.assertIn("x-api-key", answer.headers["vary"])

    def test_invalid_keys_get_the_same_bytes(self):
        def answer(key):
            answer = httpx.get(URL, headers=bearer(key))
            self.refused(answer, 401, INVALID)
            self.assertEqual(answer.headers["www-authenticate"], 'Bearer realm="api", error="invalid_token"')
            return [header for header in answer.headers.raw if header[0].lower() != b"date"], answer.content

        wrong = answer("wrong")
        for key in [new_key("revoked"), new_key("good")[:-1], "key_live_x"]:
            self.assertEqual(answer(key), wrong)

    def test_missing_key_is_told_where_it_belongs(self):
        self.refused(httpx.get(URL), 401, MISSING)

    def test_client_that_waits_as_told_is_admitted(self):
        headers = bearer(new_key("limited"))
        first = httpx.get(URL, headers=headers)
        self.assertEqual((first.status_code, first.headers["ratelimit-policy"]), (200, '"requests";q=1;w=2'))
        limited = httpx.get(URL, headers=headers)
        self.refused(limited, 429, LIMIT)
        self.assertEqual(limited.json()["violated-policies"], ["requests"])
        time.sleep(int(limited.headers["retry-after"]))
        self.assertEqual(httpx.get(URL, headers=headers).status_code, 200)

    def test_outage_is_no_refusal_of_the_key(self):
        outage(1)
        headers = bearer(new_key("good"))
        down = httpx.get(URL, headers=headers)
        self.refused(down, 503, DOWN)
        self.assertIn(int(down.headers["retry-after"]), [1, 2])
        self.assertEqual(httpx.get(URL, headers=headers).status_code, 200)

    def test_network_of_the_client_is_seen(self):
        self.assertEqual(httpx.get(URL, headers=bearer(new_key("here"))).status_code, 200)
        self.assertEqual(httpx.get(URL, headers=bearer(new_key("elsewhere"))).status_code, 403)

    def test_address_that_the_client_names_is_not_believed(self):
        headers = {**bearer(new_key("elsewhere")), "X-Forwarded-For": "192.0.2.1"}
        # From another address than the proxy's, which is trusted.
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as client:
            self.assertEqual(client.get(URL, headers=headers).status_code, 403)

    def test_stream_ends_with_its_key(self):
        key = new_key("good")
        with httpx.stream("GET", f"{URL}/ticks", headers=bearer(key)) as answer:
            lines = answer.iter_lines()
            self.assertEqual([next(lines) for _ in range(4)], ["data: tick", "", "data: tick", ""])
            revoke(key)
            self.assertEqual([line for line in lines if line][-1], "data: end")
        self.assert_requests(1)
