//! What is sent to another machine is encrypted, and goes to the server that the URL names.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::tempdir;
use tower_api_key::Clock;
use tower_api_key::key::Lookup;
use tower_api_key::store::{KeyStore as _, PostgresStore, StoreErrorKind};
use tracing::Level;

use super::url::{ENCODED, PASSWORD, chain, refused, serving};
use crate::support::audit::Audit;
use crate::support::log::Log;
use crate::support::postgres::{Authority, Certificate, Server, psql};

/// All but `disable`, none being one of them.
const MODES: [&str; 6] = ["", "prefer", "allow", "require", "verify-ca", "verify-full"];
const NAME: &str = "db.test";

/// A server that is not on loopback: 0.0.0.0 is this machine as well.
fn far(port: u16, mode: &str, roots: Option<&Path>) -> String {
    let mut url = format!("postgres://postgres:{ENCODED}@{NAME}:{port}/postgres?hostaddr=0.0.0.0");
    if !mode.is_empty() {
        url += &format!("&sslmode={mode}");
    }
    if let Some(path) = roots {
        url += &format!("&sslrootcert={}", path.display());
    }
    url
}

/// How many connections of stores use TLS, and how many do not.
fn connections(server: &Server) -> (u32, u32) {
    let counted = server.psql(
        "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'tower-api-key'",
    );
    let (by_tls, plain) = counted.split_once('|').unwrap();
    (by_tls.parse().unwrap(), plain.parse().unwrap())
}

async fn until(server: &Server, mut is_so: impl FnMut((u32, u32)) -> bool) {
    while !is_so(connections(server)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn every_connection_to_another_machine_is_verified() {
    let authority = Authority::new();
    let server = Server::start_tls(&authority.certificate(NAME));
    for mode in MODES {
        let url = far(server.port(), mode, Some(&authority.path()));
        let store = PostgresStore::open(&url)
            .await
            .unwrap_or_else(|error| panic!("{mode}: {}", chain(&error)));
        // One of the pool, and that of the follower.
        store.find(&Lookup::new("nothing").unwrap()).await.unwrap();
        store.follow(&Clock::system());
        until(&server, |(by_tls, plain)| {
            assert_eq!(plain, 0, "{mode}");
            by_tls >= 2
        })
        .await;
        drop(store);
        until(&server, |all| all == (0, 0)).await;
    }
}

#[tokio::test]
async fn server_that_does_not_prove_its_name_is_refused() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (authority, unknown) = (Authority::new(), Authority::new());
    let without = Server::start();
    let with = |certificate: &Certificate| Server::start_tls(certificate);
    let cases = [
        (
            &without,
            ["server does not support TLS", "set `ssl = on` in the server"],
        ),
        (
            &with(&authority.certificate("other.test")),
            [
                "certificate not valid for name \"db.test\"",
                "write a host in the URL that the certificate names",
            ],
        ),
        (
            &with(&unknown.certificate(NAME)),
            ["BadSignature", "by `sslrootcert` in the URL"],
        ),
        (
            &with(&authority.self_signed(NAME)),
            ["UnknownIssuer", "by `sslrootcert` in the URL"],
        ),
        (
            &with(&authority.expired(NAME)),
            ["certificate expired", "renew the server's certificate"],
        ),
    ];
    for (server, reasons) in cases {
        for mode in MODES {
            let (kind, text) = refused(&far(server.port(), mode, Some(&authority.path()))).await;
            assert_eq!(kind, StoreErrorKind::Unusable, "{mode}: {text}");
            assert!(reasons.iter().all(|reason| text.contains(reason)), "{mode}: {text}");
            assert!(text.contains(&format!("db.test:{}: ", server.port())), "{text}");
        }
    }
    // Without a file the system's authorities are trusted, of which none knows this one.
    for mode in MODES {
        let server = cases[2].0;
        let (kind, text) = refused(&far(server.port(), mode, None)).await;
        assert_eq!(kind, StoreErrorKind::Unusable, "{mode}: {text}");
        assert!(text.contains("`sslrootcert` in the URL"), "{mode}: {text}");
    }
    let logged = log.text();
    assert!(!logged.contains("hunter2"), "{logged}");
}

/// Those that a server may send before TLS: no, an error, yes and then something else.
#[tokio::test]
async fn man_in_the_middle_gets_the_wish_for_tls_alone() {
    const WISH: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
    for (answer, is_greeted) in [
        (&b"N"[..], false),
        (b"N\0\0\0\x08\0\0\0\0", false),
        (b"E\0\0\0\x0bSFATAL\0", false),
        (b"SR\0\0\0\x08\0\0\0\0", true),
        (b"S", true),
    ] {
        for mode in MODES {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let hearing = heard.clone();
            let port = serving(move |mut connection| {
                let mut wish = [0; 8];
                connection.read_exact(&mut wish).unwrap();
                // Before the answer, after which the client may be gone and this test look.
                hearing.lock().unwrap().extend_from_slice(&wish);
                connection.write_all(answer).unwrap();
                let (mut bytes, mut is_first) = ([0; 1024], true);
                while let Ok(count @ 1..) = connection.read(&mut bytes) {
                    hearing.lock().unwrap().extend_from_slice(&bytes[..count]);
                    // It has what a client says first: which names and ciphers it knows.
                    if std::mem::take(&mut is_first) && answer == b"S" {
                        let _ = connection.write_all(b"R\0\0\0\x08\0\0\0\0 as a server without TLS would");
                    }
                }
            });
            let (kind, text) = refused(&far(port, mode, Some(&Authority::new().path()))).await;
            assert_eq!(kind, StoreErrorKind::Unusable, "{mode}: {text}");
            let heard = heard.lock().unwrap();
            let (wish, rest) = heard.split_at(8);
            assert_eq!(wish, WISH);
            match is_greeted {
                // A handshake, or the alert that ends it.
                true => assert!(rest.first().is_none_or(|kind| [21, 22].contains(kind)), "{rest:?}"),
                false => assert!(rest.is_empty(), "{rest:?}"),
            }
            let heard = String::from_utf8_lossy(&heard);
            assert!(!heard.contains("hunter2") && !heard.contains("postgres"), "{heard}");
        }
    }
}

#[tokio::test]
async fn loopback_needs_no_certificate_unless_asked_for() {
    let authority = Authority::new();
    let server = Server::start_tls(&authority.certificate("localhost"));
    let near = |host: &str, options: &str| format!("postgres://postgres@{host}:{}/postgres{options}", server.port());
    for url in [
        near("127.0.0.1", ""),
        near("localhost", "?sslmode=prefer"),
        near("LocalHost", "?sslmode=allow"),
        near("db.localhost", ""),
        near("db.test", "?hostaddr=127.0.0.1"),
    ] {
        let store = PostgresStore::open(&url)
            .await
            .unwrap_or_else(|error| panic!("{url}: {}", chain(&error)));
        store.find(&Lookup::new("nothing").unwrap()).await.unwrap();
        assert_eq!(connections(&server).0, 0, "{url}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let (kind, text) = refused(&near("localhost", &format!("?sslmode={mode}"))).await;
        assert_eq!(kind, StoreErrorKind::Unusable, "{text}");
        assert!(text.contains("`sslrootcert` in the URL"), "{text}");
    }
    let roots = authority.path();
    // Who names an authority wants it asked.
    for mode in ["", "&sslmode=prefer", "&sslmode=verify-full"] {
        let options = format!("?sslrootcert={}{mode}", roots.display());
        let store = PostgresStore::open(&near("localhost", &options)).await.unwrap();
        store.find(&Lookup::new("nothing").unwrap()).await.unwrap();
        assert_ne!(connections(&server).0, 0, "{mode}");
        drop(store);
        until(&server, |all| all == (0, 0)).await;
        let (kind, text) = refused(&near("127.0.0.1", &options)).await;
        assert_eq!(kind, StoreErrorKind::Unusable, "{text}");
        assert!(text.contains("certificate not valid for name \"127.0.0.1\""), "{text}");
    }
}

#[tokio::test]
async fn one_far_server_makes_all_verified() {
    let server = Server::start();
    let port = server.port();
    let url = format!(
        "host=localhost,{NAME} hostaddr=127.0.0.1,0.0.0.0 port={port} user=postgres password='{PASSWORD}' dbname=postgres"
    );
    let (kind, text) = refused(&url).await;
    assert_eq!(kind, StoreErrorKind::Unusable, "{text}");
    for name in ["localhost", NAME] {
        let reason = format!("{name}:{port}: error performing TLS handshake: server does not support TLS");
        assert!(text.contains(&reason), "{text}");
    }
    let local = url.replace("0.0.0.0", "127.0.0.1");
    let (kind, text) = refused(&format!("{local} sslmode=require")).await;
    assert_eq!(kind, StoreErrorKind::Unusable, "{text}");
    PostgresStore::open(&local).await.unwrap();
}

#[tokio::test]
async fn plaintext_to_another_machine_is_logged_once() {
    let server = Server::start();
    let (audit, _guard) = Audit::start();
    let store = PostgresStore::open(&far(server.port(), "disable", None)).await.unwrap();
    store.find(&Lookup::new("nothing").unwrap()).await.unwrap();
    let warnings = audit.all_of_level(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let fields = &warnings[0].fields;
    assert!(
        fields.contains("sslmode=disable sends passwords and hashes of keys"),
        "{fields}"
    );
    assert!(fields.contains(&format!("db.test:{}", server.port())), "{fields}");
    assert!(!fields.contains("hunter2"), "{fields}");

    PostgresStore::open(&format!("{}?sslmode=disable", server.url()))
        .await
        .unwrap();
    assert_eq!(audit.all_of_level(Level::WARN).len(), 1);
}

#[tokio::test]
async fn address_is_verified_as_address() {
    let authority = Authority::new();
    for (name, is_right) in [("0.0.0.0", true), (NAME, false)] {
        let server = Server::start_tls(&authority.certificate(name));
        let url = |host: &str| {
            format!(
                "{host}=0.0.0.0 port={} user=postgres dbname=postgres sslrootcert='{}'",
                server.port(),
                authority.path().display()
            )
        };
        for option in ["host", "hostaddr"] {
            let opened = PostgresStore::open(&url(option)).await;
            assert_eq!(
                opened.is_ok(),
                is_right,
                "{option}: {:?}",
                opened.err().map(|error| chain(&error))
            );
        }
    }
}

#[tokio::test]
async fn client_shows_its_certificate_when_asked() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let server = Server::start_tls(&authority.certificate(NAME));
    fs::copy(authority.path(), server.data().join("clients.pem")).unwrap();
    server.psql("ALTER SYSTEM SET ssl_ca_file = 'clients.pem'");
    let rules = server.data().join("pg_hba.conf");
    let old = fs::read_to_string(&rules).unwrap();
    fs::write(
        rules,
        format!("hostssl all keys all trust clientcert=verify-ca\nhost all keys all reject\n{old}"),
    )
    .unwrap();
    server.psql("CREATE ROLE keys SUPERUSER LOGIN; SELECT pg_reload_conf()");
    let base = far(server.port(), "", Some(&authority.path())).replace("postgres:hunter2", "keys:hunter2");
    let by =
        |certificate: &Path, key: &Path| format!("{base}&sslcert={}&sslkey={}", certificate.display(), key.display());
    let (ours, theirs) = (authority.certificate("client"), unknown.certificate("client"));

    // The new rules count once the server has read them.
    while PostgresStore::open(&base).await.is_ok() {}
    let store = PostgresStore::open(&by(&ours.certificate, &ours.key)).await;
    store.unwrap_or_else(|error| panic!("{}", chain(&error)));
    for (url, reason) in [
        (base.clone(), "connection requires a valid client certificate"),
        (
            by(&theirs.certificate, &theirs.key),
            "name a certificate that the server trusts",
        ),
        (by(&ours.certificate, &theirs.key), "cannot be used"),
        (by(&ours.key, &ours.key), "no certificate in PEM in"),
        (
            by(&ours.certificate, &ours.certificate),
            "cannot read a private key in PEM",
        ),
        (
            by(Path::new("/no/such.pem"), &ours.key),
            "cannot read certificates from /no/such.pem, which `sslcert` names",
        ),
    ] {
        let (kind, text) = refused(&url).await;
        assert_eq!(kind, StoreErrorKind::Unusable, "{reason}: {text}");
        assert!(text.contains(reason), "{reason}: {text}");
    }
}

#[tokio::test]
async fn channel_binding_needs_tls_and_uses_it() {
    let authority = Authority::new();
    let server = Server::start_tls(&authority.certificate(NAME));
    server.psql(&format!("CREATE ROLE keys SUPERUSER LOGIN PASSWORD '{PASSWORD}'"));
    let rules = server.data().join("pg_hba.conf");
    let old = fs::read_to_string(&rules).unwrap();
    fs::write(rules, format!("host all keys all scram-sha-256\n{old}")).unwrap();
    server.psql("SELECT pg_reload_conf()");
    let url = far(server.port(), "", Some(&authority.path())).replace("postgres:hunter2", "keys:hunter2");
    let url = format!("{url}&channel_binding=require");
    while let Err(error) = PostgresStore::open(&url).await {
        // Until the server has read the rules it asks for no password.
        assert!(chain(&error).contains("channel binding"), "{}", chain(&error));
    }
    let (kind, text) = refused(&url.replace("sslrootcert", "sslmode=disable&application_name")).await;
    assert_eq!(kind, StoreErrorKind::Unusable, "{text}");
    assert!(text.contains("channel binding"), "{text}");
}

#[tokio::test]
async fn file_without_certificates_is_named() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("roots.pem");
    for (content, reason) in [
        (None, "cannot read certificates from"),
        (Some(""), "no certificate in PEM in"),
        (
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "cannot be used",
        ),
        (
            Some("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
            "cannot read certificates from",
        ),
    ] {
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let (kind, text) = refused(&far(1, "verify-full", Some(&path))).await;
        assert_eq!(kind, StoreErrorKind::Unusable, "{text}");
        assert!(text.contains(reason), "{text}");
    }
}

const TRUSTING: &str = "POSTGRES_TLS_URL";

/// With a file of authorities in the place of the system's.
#[tokio::test]
#[ignore = "run in another process by another test"]
async fn trusting() {
    let Ok(url) = std::env::var(TRUSTING) else { return };
    let opened = PostgresStore::open(&url).await;
    println!(
        "\nopened {}",
        opened.map_or_else(|error| chain(&error), |_| "well".to_owned())
    );
}

#[test]
fn authorities_of_the_system_are_trusted() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let server = Server::start_tls(&authority.certificate(NAME));
    for roots in ["", "&sslrootcert=system"] {
        for (trusted, result) in [(&authority, "opened well"), (&unknown, "`sslrootcert` in the URL")] {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "postgres_store::tls::trusting", "--nocapture"])
                .env(TRUSTING, format!("{}{roots}", far(server.port(), "", None)))
                .env("SSL_CERT_FILE", trusted.path())
                .env_remove("SSL_CERT_DIR")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains(result), "{said}");
        }
    }
    assert_eq!(psql(&server.url(), "SELECT count(*) FROM api_keys.realm"), "1");
}
