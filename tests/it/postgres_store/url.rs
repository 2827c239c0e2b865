//! What a URL names: several servers, and errors that say what to do.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use tower_api_key::key::Lookup;
use tower_api_key::store::{KeyStore as _, PostgresStore, StoreError, StoreErrorKind};

use crate::support::postgres::{Server, psql, schema_name, shared, try_psql};

pub(super) const PASSWORD: &str = "hunter2@of/the?database";
/// As it is written in a URL.
pub(super) const ENCODED: &str = "hunter2%40of%2Fthe%3Fdatabase";

/// The error with all its causes, as texts and for debugging, none of which may have the password.
pub(super) fn chain(error: &StoreError) -> String {
    let text = crate::support::chain(error);
    assert!(!text.contains("hunter2"), "{text}");
    text
}

/// What comes of opening a URL that cannot be opened.
pub(super) async fn refused(url: &str) -> (StoreErrorKind, String) {
    let error = PostgresStore::open(url).await.unwrap_err();
    (error.kind(), chain(&error))
}

/// A server that does with each connection what `serve` does; its port.
pub(super) fn serving(serve: impl Fn(TcpStream) + Send + Clone + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(connection));
        }
    });
    port
}

/// What a server says that takes no connections.
fn saying(code: &'static str, message: &'static str) -> u16 {
    serving(move |mut connection| {
        let mut startup = [0; 4];
        connection.read_exact(&mut startup).unwrap();
        let mut rest = vec![0; u32::from_be_bytes(startup) as usize - 4];
        connection.read_exact(&mut rest).unwrap();
        let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
        let length = u32::try_from(fields.len() + 4).unwrap();
        let said = [&b"E"[..], &length.to_be_bytes(), fields.as_bytes()].concat();
        connection.write_all(&said).unwrap();
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A server where `keys` needs its password.
fn server_with_password() -> Server {
    let server = Server::start();
    server.psql(&format!("CREATE ROLE keys SUPERUSER LOGIN PASSWORD '{PASSWORD}'"));
    let rules = server.data().join("pg_hba.conf");
    let old = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(rules, format!("host all keys all scram-sha-256\n{old}")).unwrap();
    server.psql("SELECT pg_reload_conf()");
    server
}

#[tokio::test]
async fn what_the_operator_has_to_change_is_unusable() {
    let server = server_with_password();
    let port = server.port();
    let of = |rest: &str| format!("postgres://keys:{ENCODED}@127.0.0.1:{port}/{rest}");
    PostgresStore::open(&of("postgres")).await.unwrap();
    PostgresStore::open(&format!(
        "host=127.0.0.1 port={port} user=keys password='{PASSWORD}' dbname=postgres"
    ))
    .await
    .unwrap();

    server.psql("CREATE DATABASE closed; REVOKE CONNECT ON DATABASE closed FROM public; CREATE ROLE nobody LOGIN");
    for (url, reasons) in [
        (
            of("postgres").replace("hunter2", "hunter2x"),
            [
                "password authentication failed for user \"keys\" (SQLSTATE 28P01)",
                "correct the user or the password",
            ],
        ),
        (
            of("postgres").replace(&format!(":{ENCODED}"), ""),
            ["password missing", "write the password in the URL"],
        ),
        (
            of("nowhere"),
            [
                "database \"nowhere\" does not exist (SQLSTATE 3D000)",
                "create the database",
            ],
        ),
        (
            of("postgres").replace(&format!("keys:{ENCODED}"), &format!("no_one:{ENCODED}")),
            ["role \"no_one\" does not exist (SQLSTATE 28000)", "pg_hba.conf"],
        ),
        (
            of("closed").replace(&format!("keys:{ENCODED}"), &format!("nobody:{ENCODED}")),
            [
                "permission denied for database \"closed\"",
                "grant the user of the URL CONNECT",
            ],
        ),
    ] {
        let (kind, text) = refused(&url).await;
        assert_eq!(kind, StoreErrorKind::Unusable, "{text}");
        assert!(text.contains(&format!("127.0.0.1:{port}: ")), "{text}");
        assert!(reasons.iter().all(|reason| text.contains(reason)), "{text}");
    }
}

#[tokio::test]
async fn what_passes_by_itself_is_unavailable() {
    let closed = free_port();
    for (url, reason) in [
        (
            format!("postgres://keys:hunter2@127.0.0.1:{closed}/x"),
            "Connection refused",
        ),
        (
            format!("postgres://keys:hunter2@localhost:{closed}/x"),
            "Connection refused",
        ),
        (
            "postgres://keys:hunter2@no-such-host.invalid/x?sslmode=disable".to_owned(),
            "no-such-host.invalid:5432: error connecting to server: failed to lookup address",
        ),
        (
            "postgres://keys:hunter2@%2Fno%2Fsuch/x".to_owned(),
            "/no/such:5432: error connecting",
        ),
        (
            format!(
                "postgres://keys:hunter2@127.0.0.1:{}/x",
                saying("57P03", "the database system is starting up")
            ),
            "the database system is starting up (SQLSTATE 57P03)",
        ),
    ] {
        let (kind, text) = refused(&url).await;
        assert_eq!(kind, StoreErrorKind::Unavailable, "{text}");
        assert!(text.contains(reason), "{text}");
    }
}

#[tokio::test]
async fn server_without_free_connection_is_overloaded() {
    let role = schema_name();
    psql(&shared(), &format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 0"));
    let (kind, text) = refused(&shared().replace("postgres@", &format!("{role}@"))).await;
    assert_eq!(kind, StoreErrorKind::Overloaded, "{text}");
    assert!(text.contains("too many connections for role"), "{text}");
}

#[tokio::test]
async fn server_that_never_answers_is_unavailable() {
    let silent = serving(|_connection| thread::sleep(Duration::from_secs(300)));
    let builder = PostgresStore::builder().connect_timeout(Duration::from_millis(200));
    let error = builder
        .open(&format!("postgres://keys:hunter2@127.0.0.1:{silent}/x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let text = chain(&error);
    let reason = format!("127.0.0.1:{silent}: the server did not accept a connection in time");
    assert!(text.contains(&reason), "{text}");
}

#[tokio::test]
async fn primary_is_found_behind_standby_and_silent_host() {
    let primary = Server::start();
    let standby = primary.standby();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    silent.set_nonblocking(true).unwrap();
    let (dead, silent_port) = (free_port(), silent.local_addr().unwrap().port());
    let hosts = |ports: &[u16]| {
        let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("postgres://postgres@{}/postgres", hosts.join(","))
    };
    let (first, last) = (standby.port(), primary.port());

    let url = hosts(&[dead, silent_port, first, last]);
    let store = PostgresStore::builder()
        .connect_timeout(Duration::from_secs(4))
        .open(&url)
        .await
        .unwrap();
    // The pool's connections begin with the server that answered.
    store.find(&Lookup::new("nothing").unwrap()).await.unwrap();
    let tries = std::iter::from_fn(|| silent.accept().ok()).count();
    assert_eq!(tries, 1);

    let error = PostgresStore::open(&hosts(&[first])).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(chain(&error).contains("the server is a standby"), "{}", chain(&error));
    // One of several may become the primary.
    let (kind, text) = refused(&hosts(&[first, dead])).await;
    assert_eq!(kind, StoreErrorKind::Unavailable, "{text}");
    for reason in [
        format!("127.0.0.1:{first}: cannot set transaction read-write mode during recovery"),
        format!("127.0.0.1:{dead}: error connecting to server: Connection refused"),
    ] {
        assert!(text.contains(&reason), "{text}");
    }
}

#[tokio::test]
async fn text_that_is_no_url_shows_no_password() {
    for text in [
        "postgres://keys:hunter2@db@other/x",
        "postgres://keys:hun/hunter2@db/x",
        "postgres://keys:hun?hunter2=@db/x",
        "postgres://keys:12?hunter2=1@db/x",
        "postgres://keys:hunter2",
        "postgres://db/x?password=a&hunter2=b",
        "postgres://db/x?password=a&hunter2",
        "postgres://db/x?sslmode=hunter2",
        "postgres://db:hunter2/x",
        "postgres://[hunter2/x",
        "postgres://hunter2%FF@db/x",
        "postgres:keys:hunter2@db",
        "jdbc:postgresql://db/x?user=keys&password=hunter2",
        "host=db password=two hunter2 words",
        "host=db password=two hunter2=words",
        "host=db password='hunter2",
        "host=db password=hunter2 hostaddr=hunter2",
        "password=hunter2",
        "hunter2",
        "",
    ] {
        let (kind, shown) = refused(text).await;
        assert_eq!(kind, StoreErrorKind::Unusable, "{text}: {shown}");
        let dynamic = tower_api_key::store::DynStore::open(text).await.unwrap_err();
        chain(&dynamic);
    }
}

#[tokio::test]
async fn option_of_another_program_is_named() {
    for (option, reason) in [
        (
            "schema=public",
            "remove it, and set that of the keys with `PostgresStoreBuilder::schema`",
        ),
        (
            "connection_limit=5",
            "option `connection_limit` of the database's URL is not known",
        ),
        ("pgbouncer=true", "option `pgbouncer`"),
        ("statement-cache-capacity=0", "option `statement-cache-capacity`"),
        ("sslmod=require", "option `sslmod`"),
        ("sslcrl=/crl.pem", "option `sslcrl`"),
        (
            "sslmode=verify_full",
            "option `sslmode` of the database's URL must be `disable`, `allow`",
        ),
        ("target_session_attrs=read-only", "option `target_session_attrs`"),
        (
            "port=0",
            "option `port` of the database's URL must be between 1 and 65535",
        ),
        ("sslmode=disable&sslmode=require", "option `sslmode` is twice"),
        ("sslcert=/a.pem", "options `sslcert` and `sslkey`"),
        (
            "connect_timeout=0",
            "connect_timeout must be between 100ms and 600s, got 0ns",
        ),
        (
            "connect_timeout=18446744073709551615",
            "connect_timeout must be between 100ms and 600s",
        ),
        (
            "port=1,2",
            "`port` of the database's URL must have one value, or one for each of the 1 hosts",
        ),
    ] {
        let (kind, text) = refused(&format!("postgres://keys:hunter2@db/x?{option}")).await;
        assert_eq!(kind, StoreErrorKind::Unusable, "{option}: {text}");
        assert!(text.contains(reason), "{option}: {text}");
    }
}

#[tokio::test]
async fn socket_of_unix_is_used() {
    let server = Server::start();
    let folder = server.data().parent().unwrap().to_owned();
    let (port, path) = (server.port(), folder.display().to_string());
    for url in [
        format!("postgres://postgres@{}:{port}/postgres", path.replace('/', "%2F")),
        // As Cloud SQL documents it.
        format!("postgres://postgres@localhost/postgres?host={path}&port={port}&sslmode=require"),
        format!("host={path} port={port} user=postgres dbname=postgres application_name='a name'"),
    ] {
        PostgresStore::open(&url)
            .await
            .unwrap_or_else(|error| panic!("{url}: {}", chain(&error)));
    }
    let unknown = try_psql(&server.url(), "SELECT count(*) FROM api_keys.realm").unwrap();
    assert_eq!(unknown, "1");
}

#[cfg(not(feature = "postgres-tls"))]
#[tokio::test]
async fn other_machine_without_tls_in_the_program_is_refused() {
    for option in ["", "?sslmode=prefer", "?sslmode=require"] {
        let (kind, text) = refused(&format!("postgres://keys:hunter2@0.0.0.0:1/x{option}")).await;
        assert_eq!(kind, StoreErrorKind::Unusable, "{text}");
        assert!(
            text.contains("needs feature `postgres-tls` of tower-api-key; `sslmode=disable`"),
            "{text}"
        );
    }
    let (kind, text) = refused("postgres://keys:hunter2@127.0.0.1:1/x?sslmode=verify-full").await;
    assert_eq!(kind, StoreErrorKind::Unusable, "{text}");
    let (kind, _) = refused("postgres://keys:hunter2@0.0.0.0:1/x?sslmode=disable").await;
    assert_eq!(kind, StoreErrorKind::Unavailable);
}
