//! nginx on this machine in front of the API: what comes through it is not of this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use http::{Method, Request};
use http_body_util::Full;
use rstest::rstest;
use serde_json::Value;
use tower_api_key::IssuedKey;

use crate::logins::{PUBLIC, asking, session};
use crate::nginx::Nginx;
use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, Served};

/// What a client asks nginx with.
const FORGED: [&[(&str, &str)]; 4] = [
    &[],
    &[("x-forwarded-proto", "https")],
    &[("forwarded", "for=127.0.0.1;proto=https")],
    &[("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")],
];

/// An address of this machine that is not the one of loopback, if it has one.
fn other_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: it asks which of its addresses the machine would send from.
    match socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()) {
        Ok(address) => address.ip(),
        Err(_) => Ipv4Addr::new(127, 0, 0, 2).into(),
    }
}

fn server(at: SocketAddr, of: SocketAddr, lines: &[&str]) -> String {
    let (port, lines) = (at.port(), lines.join("\n"));
    format!("server {{ listen 0.0.0.0:{port}; location / {{ proxy_pass http://{of}; {lines} }} }}\n")
}

async fn status(api: &Served, at: SocketAddr, host: Option<&str>, key: &IssuedKey, more: &[(&str, &str)]) -> u16 {
    let mut request =
        Request::get(format!("http://{at}/api/v1/auth/keys")).header("x-api-key", key.key.expose_secret());
    if let Some(host) = host {
        request = request.header("host", host);
    }
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    api.send(request.body(Full::default()).unwrap()).await.status.as_u16()
}

#[tokio::test]
#[ignore = "needs nginx: run ./scripts/test clients"]
async fn nothing_comes_through_a_proxy_of_this_machine() {
    let api = Served::start(Sqlite).await;
    let admin = api.key(&api.organization("acme").await, ALL).await;
    let of = api.address();
    let nginx = Nginx::start(4, |at| {
        [
            // As it is without a line about headers, and as the documentation has it, but for the scheme.
            server(at[0], of, &[]),
            server(
                at[1],
                of,
                &["proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"],
            ),
            server(at[2], of, &["proxy_http_version 1.1;", "proxy_set_header Host $host;"]),
            server(
                at[3],
                of,
                &[
                    "proxy_http_version 1.1;",
                    "proxy_set_header X-Forwarded-Proto $scheme;",
                    "proxy_set_header Host localhost;",
                ],
            ),
        ]
        .concat()
    })
    .await;
    let elsewhere = other_address();
    for at in &nginx.addresses {
        let at = SocketAddr::new(elsewhere, at.port());
        for forged in FORGED {
            assert_eq!(status(&api, at, None, &admin, forged).await, 403, "{at} {forged:?}");
            // It passes the name on that the client asks for.
            let is_named = at.port() != nginx.addresses[2].port();
            if is_named || !forged.is_empty() {
                let host = Some("localhost");
                assert_eq!(status(&api, at, host, &admin, forged).await, 403, "{at} {forged:?}");
            }
        }
    }
    // Directly, from this machine.
    for host in [None, Some("localhost"), Some("localhost:8080"), Some("[::1]")] {
        assert_eq!(status(&api, of, host, &admin, &[]).await, 200, "{host:?}");
        for forged in FORGED.into_iter().filter(|forged| !forged.is_empty()) {
            assert_eq!(status(&api, of, host, &admin, forged).await, 403, "{host:?} {forged:?}");
        }
    }
    assert_eq!(status(&api, of, Some("keys.example.com"), &admin, &[]).await, 403);
}

/// Whatever they say, when they are trusted with addresses alone.
#[rstest]
#[tokio::test]
async fn this_machine_is_no_exception_behind_trusted_proxies(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start_with(store, |keys| {
        let manage = keys.manage();
        let networks = "10.0.0.0/8".parse().unwrap();
        let manage = manage.layer(|layer| layer.trusted_proxies("x-forwarded-for", networks));
        manage.unwrap().router()
    })
    .await;
    let admin = api.key(&api.organization("acme").await, ALL).await;
    assert_eq!(status(&api, api.address(), None, &admin, &[]).await, 403);
}

/// What a layer of the handle asks of its requests holds for logins too, which bring no key to it.
#[rstest]
#[tokio::test]
async fn logins_come_over_https_as_keys_do(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start_with(store, |keys| {
        let manage = keys.manage().principal(PUBLIC, session).unwrap();
        let networks = "127.0.0.0/8".parse().unwrap();
        let manage = manage.layer(|layer| layer.only_https("x-forwarded-proto", networks));
        manage.unwrap().router()
    })
    .await;
    let acme = api.organization("acme").await;
    let session = format!("{}/alice", acme.id);
    for (more, expected) in [
        (&[][..], 403),
        (&[("x-forwarded-proto", "http")], 403),
        (&[("x-forwarded-proto", "https")], 200),
    ] {
        let headers = [&asking(&session)[..], more].concat();
        let reply = api.plain(Method::GET, "/keys", &headers, Value::Null).await;
        assert_eq!(reply.status, expected, "{more:?}: {}", reply.text);
    }
}

/// Once proxies are named, what they say decides, and this machine is no exception.
#[tokio::test]
#[ignore = "needs nginx: run ./scripts/test clients"]
async fn named_proxy_says_the_scheme_and_its_client_does_not() {
    let api = Served::start_with(Sqlite, |keys| {
        let manage = keys.manage();
        let networks = "127.0.0.0/8 ::1".parse().unwrap();
        manage.https_by_proxies("x-forwarded-proto", networks).unwrap().router()
    })
    .await;
    let admin = api.key(&api.organization("acme").await, ALL).await;
    let of = api.address();
    let nginx = Nginx::start(3, |at| {
        [
            // Over plain HTTP: it replaces what the client says.
            server(at[0], of, &["proxy_set_header X-Forwarded-Proto $scheme;"]),
            // It says nothing.
            server(
                at[1],
                of,
                &["proxy_http_version 1.1;", "proxy_set_header X-Forwarded-Proto \"\";"],
            ),
            // As it would be over HTTPS.
            server(at[2], of, &["proxy_set_header X-Forwarded-Proto https;"]),
        ]
        .concat()
    })
    .await;
    let elsewhere = other_address();
    for (at, expected) in nginx.addresses.iter().zip([403, 403, 200]) {
        let at = SocketAddr::new(elsewhere, at.port());
        for forged in FORGED {
            assert_eq!(
                status(&api, at, None, &admin, forged).await,
                expected,
                "{at} {forged:?}"
            );
        }
    }
    assert_eq!(status(&api, of, None, &admin, &[]).await, 403);
}
