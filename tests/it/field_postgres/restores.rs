//! Backups that are put into another server, by the ways that people have.

use tower_api_key::AuditAnchors;

use super::{BOUND, Shop, as_user, builder, chain};
use crate::support::postgres::{Server, client, psql, schema_name};

/// Keys in a database, to be found again: one good, one revoked.
struct Kept {
    url: String,
    good: tower_api_key::IssuedKey,
    revoked: tower_api_key::IssuedKey,
    anchors: AuditAnchors,
    rows: String,
}

/// All rows but those of what a process that is opened does by itself.
fn rows(url: &str) -> String {
    let tables = psql(
        url,
        "SELECT tablename FROM pg_tables WHERE schemaname = 'api_keys' AND tablename <> 'leases' ORDER BY 1",
    );
    let of = |table: &str| {
        let query =
            format!("SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM api_keys.{table} t");
        format!("{table} {}\n", psql(url, &query))
    };
    tables.lines().map(of).collect()
}

impl Kept {
    async fn on(server: &Server) -> Self {
        let url = server.url();
        let shop = Shop::open(&url).await;
        let (good, revoked) = (shop.issue().await, shop.issue().await);
        shop.revoke(&revoked).await;
        assert_eq!((shop.asks(&good).await, shop.asks(&revoked).await), (200, 401));
        shop.keys.flush().await.unwrap();
        let mut anchors = AuditAnchors::default();
        shop.keys.audit().anchor(&mut anchors).await.unwrap();
        drop(shop);
        Self {
            rows: rows(&url),
            url,
            good,
            revoked,
            anchors,
        }
    }

    /// Keys, chain and identity are those of before.
    async fn is_in(&self, url: &str) {
        assert_eq!(rows(url), self.rows);
        let shop = Shop::open(url).await;
        assert_eq!(
            (shop.asks(&self.good).await, shop.asks(&self.revoked).await),
            (200, 401)
        );
        shop.keys.audit().verify(&self.anchors).await.unwrap();
        shop.works().await;
        // Triggers are what they were: a change by hand is seen.
        let key = shop.issue().await;
        shop.until(&key, 200, &[503]).await;
        psql(url, "UPDATE api_keys.keys SET status = 'revoked'");
        shop.until(&key, 401, &[200, 503]).await;
    }
}

/// Roles are of the server, and not in the backup. The restored schema has nobody but who restored it, until it is opened.
async fn service_gets_in(server: &Server) {
    let user = schema_name();
    server.psql(&format!("CREATE ROLE {user} LOGIN; GRANT api_keys_service TO {user}"));
    let opened = builder()
        .without_migrations()
        .open(&as_user(&server.url(), &user))
        .await;
    let store = opened.unwrap_or_else(|error| panic!("{}", chain(&error)));
    Shop::over(store).await.works().await;
    let owners = "SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname = 'api_keys'";
    assert_eq!(server.psql(owners), "api_keys_owner");
}

#[tokio::test]
async fn dump_fed_to_psql_on_a_new_server_is_whole() {
    let (old, new) = (Server::start(), Server::start());
    let kept = Kept::on(&old).await;
    // As psql does by itself: errors of roles that are missing do not stop it.
    psql(&new.url(), &format!("\\set ON_ERROR_STOP off\n{}", old.dump()));
    kept.is_in(&new.url()).await;
    service_gets_in(&new).await;
}

#[tokio::test]
async fn parallel_restore_is_whole() {
    let (old, new) = (Server::start(), Server::start());
    let kept = Kept::on(&old).await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup").display().to_string();
    client(
        "pg_dump",
        &[
            "--format=directory",
            "--jobs=2",
            "--file",
            &backup,
            "--dbname",
            &kept.url,
        ],
    )
    .unwrap();
    let restore = ["--jobs=4", "--no-owner", "--no-acl", "--dbname", &new.url(), &backup];
    client("pg_restore", &restore).unwrap();
    kept.is_in(&new.url()).await;
    service_gets_in(&new).await;
}

/// Tools that load rows alone switch triggers off, and then on again as triggers of the usual kind, which are not enough.
#[tokio::test]
async fn rows_loaded_without_triggers_are_served_once_opened() {
    let (old, new) = (Server::start(), Server::start());
    let kept = Kept::on(&old).await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup").display().to_string();
    client(
        "pg_dump",
        &["--format=custom", "--file", &backup, "--dbname", &kept.url],
    )
    .unwrap();
    drop(builder().open(&new.url()).await.unwrap());
    let tables = new.psql("SELECT 'api_keys.' || tablename FROM pg_tables WHERE schemaname = 'api_keys'");
    let tables: Vec<&str> = tables.lines().collect();
    for table in &tables {
        new.psql(&format!("ALTER TABLE {table} DISABLE TRIGGER ALL"));
    }
    new.psql(&format!("TRUNCATE {}", tables.join(", ")));
    let restore = [
        "--data-only",
        "--disable-triggers",
        "--exit-on-error",
        "--dbname",
        &new.url(),
        &backup,
    ];
    client("pg_restore", &restore).unwrap();
    let enabled = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A'";
    assert_ne!(new.psql(enabled), "0");
    // Who may not change tables trusts no cached key meanwhile.
    let service = Shop::over(builder().without_migrations().open(&new.url()).await.unwrap()).await;
    assert_eq!(service.asks(&kept.good).await, 200);
    tokio::time::sleep(2 * BOUND).await;
    let opened = builder().open(&new.url()).await.unwrap();
    assert_eq!(new.psql(enabled), "0");
    drop(opened);
    let direct = Shop::open(&new.url()).await;
    let key = direct.issue().await;
    service.until(&key, 200, &[503]).await;
    direct.revoke(&key).await;
    service.until(&key, 401, &[200, 503]).await;
    assert_eq!(service.asks(&kept.revoked).await, 401);
    service.keys.audit().verify(&kept.anchors).await.unwrap();
}
