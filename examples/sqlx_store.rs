//! Keys in a table that the application has already, read through its own `sqlx::PgPool`.
//!
//! `DATABASE_URL=postgres://user:password@localhost/app cargo run --example sqlx_store`. It makes the table `partner_keys`, if there
//! is none, with two new keys in it. Its user may have to be allowed to: `GRANT CREATE ON SCHEMA public TO …`.
//!
//! What it costs: nothing announces a change of this table (`Sharing::Unknown`), so a key that is revoked in it works until the
//! cached answer's time to live ends, here 30 seconds. Each key in use costs one read in that time, and no hash. There is no audit
//! trail, no rotation and no last use: those need a `ManagedStore`, such as `PostgresStore`.

#[allow(dead_code, reason = "this example makes its keys itself")]
mod support;

use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Router, serve};
use sqlx::{PgPool, query, query_as, query_scalar};
use support::Failure;
use tower_api_key::hash::{HashPolicy, HashPool, sha256};
use tower_api_key::key::{
    Checksum, KeyFormat, KeyId, KeyRecord, KeySecret, KeyStatus, Lookup, Organization, OrganizationId, SecretHash,
    Timestamp,
};
use tower_api_key::store::{Candidate, KeyStore, StoreError, StoreErrorKind};
use tower_api_key::{ApiKeyLayer, AuthContext, Authenticator};

/// The application's own table. The lookup is the start of a key, which is no secret. The hash is of the whole key: `sha256:` and 64
/// hex digits for random keys, or a PHC string, `$argon2id$…`.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS partner_keys (
    id         bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner_id bigint  NOT NULL,
    partner    text    NOT NULL,
    name       text    NOT NULL,
    lookup     text    NOT NULL UNIQUE,
    hash       text    NOT NULL,
    is_revoked boolean NOT NULL DEFAULT FALSE
)";

/// The pool must lead to the primary: a standby shows revoked keys for as long as it lags.
#[derive(Clone)]
struct PartnerKeys(PgPool);

const FIND: &str = "SELECT id, partner_id, partner, name, hash, is_revoked FROM partner_keys WHERE lookup = $1";
/// Id, partner's id, partner, name, hash, whether it is revoked.
type Row = (i64, i64, String, String, String, bool);

impl KeyStore for PartnerKeys {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        // The client chooses the lookup: bound, never a part of the statement.
        let row = query_as(FIND).bind(lookup.as_str()).fetch_optional(&self.0);
        let row: Option<Row> = row.await.map_err(unavailable)?;
        let Some((id, partner_id, partner, name, hash, is_revoked)) = row else {
            return Ok(None);
        };
        let mut owner = Organization::new(partner);
        owner.id = OrganizationId::from_u128(number(partner_id)?); // the same at every read: limits count by ids
        let mut record = KeyRecord::new(owner.id, name, Timestamp::from_millis(0));
        record.id = KeyId::from_u128(number(id)?);
        record.prefix = "shop".into(); // as the key has it
        if is_revoked {
            record.status = KeyStatus::Revoked;
        }
        let hash =
            SecretHash::new(hash).map_err(|error| StoreError::with_source(StoreErrorKind::InvalidRecord, error))?;
        let secret = KeySecret::new(lookup.clone(), hash, Timestamp::from_millis(0));
        Ok(Some(Candidate::new(record, secret, owner)))
    }
}

/// A 503. `None` in its place would be a 401, and the client of a good key would discard it.
fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, error)
}

fn number(id: i64) -> Result<u128, StoreError> {
    u128::try_from(id).map_err(|error| StoreError::with_source(StoreErrorKind::InvalidRecord, error))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let url =
        std::env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set: postgres://user:password@host/database")?;
    let listener = support::listen("127.0.0.1:3000").await?;
    let address = listener.local_addr()?;
    let pool = PgPool::connect(&url).await?;

    // `shop_`, 8 characters to find the key by, 24 of secret.
    let format = KeyFormat::builder("shop").without_environments();
    let format = format
        .lookup_length(8)
        .body_length(32)
        .checksum(Checksum::None)
        .build()?;
    let texts = make_keys(&pool, &format).await?;
    let keys = Authenticator::builder(PartnerKeys(pool)).formats(format);
    let keys = keys.time_to_live(Duration::from_secs(30))?.build();
    let layer =
        ApiKeyLayer::from(keys).client_address(|request| Some(request.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    let app = Router::new().route("/whoami", get(who_am_i)).route_layer(layer);

    let mut out = stdout().lock();
    writeln!(out, "listening on http://{address}")?;
    for (name, key) in &texts {
        writeln!(out, "key {name} {key}")?;
    }
    writeln!(
        out,
        "curl -i http://{address}/whoami -H 'Authorization: Bearer {}'",
        texts[0].1
    )?;
    out.flush()?;
    drop(out);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}

async fn who_am_i(auth: AuthContext) -> String {
    format!("{} of {}\n", auth.name(), auth.organization().name)
}

/// Two new keys at each start. Only a demonstration prints them.
async fn make_keys(pool: &PgPool, format: &KeyFormat) -> Result<[(&'static str, String); 2], Failure> {
    query(TABLE).execute(pool).await?;
    let mut texts = [("sha256", String::new()), ("argon2id", String::new())];
    for (name, text) in &mut texts {
        let (key, lookup) = format.generate(None)?.into_parts();
        let hash = match *name {
            "sha256" => sha256(&key),
            _ => HashPool::global().hash(&HashPolicy::default(), &key).await?,
        };
        let insert = "INSERT INTO partner_keys (partner_id, partner, name, lookup, hash) \
             VALUES (1, 'acme', $1, $2, $3) RETURNING id";
        let insert = query_scalar::<_, i64>(insert)
            .bind(*name)
            .bind(lookup.as_str())
            .bind(hash.as_str());
        let id = insert.fetch_one(pool).await?;
        tracing::info!(id, name, "made a key");
        *text = key.expose_secret().to_owned();
    }
    Ok(texts)
}
