//! Shared by the example servers: an embedded store, three new keys, and the printed lines.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Write, stdout};
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tower_api_key::key::{Actor, KeyId, RateLimit};
use tower_api_key::store::DynStore;
use tower_api_key::{ApiKeys, IssueRequest, Issuer};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The handle, with three keys of an organization `acme`, and their texts.
pub(crate) struct Demo {
    pub(crate) keys: ApiKeys,
    #[allow(dead_code, reason = "not every example revokes")]
    pub(crate) issuer: Issuer<DynStore>,
    #[allow(dead_code, reason = "not every example revokes")]
    pub(crate) ids: BTreeMap<&'static str, KeyId>,
    texts: Vec<(&'static str, String)>,
}

impl Demo {
    /// Opens the store of `DATABASE_URL`, or the given one, and issues new keys `reader`, `writer` and `limited`.
    pub(crate) async fn open(url: &str) -> Result<Self, Failure> {
        let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| url.to_owned());
        let keys = ApiKeys::open(&url).await.map_err(|error| reason(&error))?;
        let issuer = keys.issuer().acting_as(Actor::service());
        let acme = issuer.create_organization("acme").await?;

        let two_per_second = RateLimit::per_second("requests", 2)?.burst(5)?;
        let wanted = [
            (
                "reader",
                IssueRequest::new(acme.id, "reader").scopes("orders:read".parse()?),
            ),
            (
                "writer",
                IssueRequest::new(acme.id, "writer").scopes("orders:read orders:write".parse()?),
            ),
            (
                "limited",
                IssueRequest::new(acme.id, "limited")
                    .scopes("orders:read".parse()?)
                    .limit(two_per_second),
            ),
        ];
        let (mut ids, mut texts) = (BTreeMap::new(), Vec::new());
        for (name, request) in wanted {
            let issued = issuer.issue(request.user("alice".parse()?)).await?;
            ids.insert(name, issued.record.id);
            texts.push((name, issued.key.expose_secret().to_owned()));
        }
        Ok(Self {
            keys,
            issuer,
            ids,
            texts,
        })
    }

    /// Prints the server's address, the keys, and a line to paste. Only a demonstration prints keys: a service hands each to its
    /// owner and keeps none.
    pub(crate) fn announce(&self, address: SocketAddr, line: impl Fn(&str) -> String) -> Result<(), Failure> {
        let mut out = stdout().lock();
        writeln!(out, "listening on http://{address}")?;
        for (name, key) in &self.texts {
            writeln!(out, "key {name} {key}")?;
        }
        writeln!(out, "{}", line(&self.texts[0].1))?;
        Ok(out.flush()?)
    }
}

/// Listens at `LISTEN`, or at the given address. Call this before opening the file: a second server on the same port ends here, and
/// makes no keys first.
pub(crate) async fn listen(default: &str) -> Result<TcpListener, Failure> {
    let address = std::env::var("LISTEN").unwrap_or_else(|_| default.to_owned());
    let bound = TcpListener::bind(&address).await;
    bound.map_err(|error| format!("cannot listen on {address}: {error}").into())
}

/// An error with its causes. Without them, the message that a store cannot be opened says little.
pub(crate) fn reason(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", reason(cause)),
        None => error.to_string(),
    }
}
