//! The examples over PostgreSQL: each test has a database of its own.

use std::time::{Duration, Instant};

use super::{Example, built, is_refused, the_printed_line_works};
use crate::support::postgres::{psql, schema_name, shared};
use crate::wire::request;

/// A new database of the shared server.
fn database() -> String {
    let (server, name) = (shared(), schema_name());
    psql(&server, &format!("CREATE DATABASE {name}"));
    let (address, _) = server.rsplit_once('/').unwrap();
    format!("{address}/{name}")
}

async fn status(server: &Example, key: &str) -> u16 {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_bytes())];
    request(server.address, "GET", "/whoami", &headers).await.status
}

#[tokio::test]
async fn postgres_example_serves_keys_that_two_processes_share() {
    let url = database();
    let first = Example::start_over("postgres", &url, &["test"]).await;
    the_printed_line_works(&first).await;
    let who = first.ask("GET", "/whoami", "test").await;
    assert_eq!((who.status, who.text()), (200, "test of acme\n"));
    let open = request(first.address, "GET", "/public", &[]).await;
    assert_eq!((open.status, open.text()), (200, "open to everyone\n"));
    let none = request(first.address, "GET", "/whoami", &[]).await;
    is_refused(&none, 401, &[r#"Bearer realm="api""#]);
    let key = &first.keys["test"];
    let wrong = key.replace("key_test_", "key_live_");
    let answer = request(first.address, "GET", "/whoami", &[("x-api-key", wrong.as_bytes())]).await;
    is_refused(&answer, 401, &[r#"Bearer realm="api", error="invalid_token""#]);

    let second = Example::start_over("postgres", &url, &[]).await;
    assert_eq!(second.line, "the key `test` was made at an earlier start");
    assert_eq!(status(&second, key).await, 200);

    // By hand, as an operator would in an emergency.
    psql(&url, "UPDATE api_keys.keys SET status = 'revoked' WHERE name = 'test'");
    let (revoked_at, longest) = (Instant::now(), Duration::from_secs(6));
    for server in [&first, &second] {
        while status(server, key).await == 200 {
            assert!(revoked_at.elapsed() < longest, "a revoked key is still admitted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let revoked = request(server.address, "GET", "/whoami", &[("x-api-key", key.as_bytes())]).await;
        assert_eq!(revoked.undated(), answer.undated());
    }
}

#[tokio::test]
async fn sqlx_store_reads_the_applications_table() {
    let url = database();
    let server = Example::start_over("sqlx_store", &url, &["sha256", "argon2id"]).await;
    the_printed_line_works(&server).await;
    for name in ["sha256", "argon2id"] {
        let who = server.ask("GET", "/whoami", name).await;
        assert_eq!((who.status, who.text()), (200, &*format!("{name} of acme\n")));
    }
    let none = request(server.address, "GET", "/whoami", &[]).await;
    is_refused(&none, 401, &[r#"Bearer realm="api""#]);
    let mut wrong = server.keys["sha256"].clone();
    let last = if wrong.pop() == Some('0') { '1' } else { '0' };
    wrong.push(last);
    assert_eq!(status(&server, &wrong).await, 401);

    // A key that nobody has presented is not cached anywhere.
    let other = Example::start_over("sqlx_store", &url, &["sha256", "argon2id"]).await;
    psql(&url, "UPDATE partner_keys SET is_revoked = TRUE WHERE name = 'sha256'");
    assert_eq!(status(&other, &other.keys["sha256"]).await, 401);
    assert_eq!(status(&other, &server.keys["argon2id"]).await, 200);
    assert_eq!(psql(&url, "SELECT to_regclass('api_keys.keys') IS NULL"), "t");
}

#[test]
fn examples_over_postgres_hide_the_password() {
    let server = shared();
    let (_, address) = server.rsplit_once('@').unwrap();
    let (address, _) = address.split_once('/').unwrap();
    for name in ["postgres", "sqlx_store"] {
        for url in [
            format!("postgres://postgres:hunter2@{address}/no_such_database"),
            format!("postgres://no_such_user:hunter2@{address}/postgres"),
        ] {
            let output = std::process::Command::new(built(name))
                .env("LISTEN", "127.0.0.1:0")
                .env("DATABASE_URL", url)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{text}");
            assert!(text.contains("no_such_") && !text.contains("hunter2"), "{text}");
        }
    }
}
