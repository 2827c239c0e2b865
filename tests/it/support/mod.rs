//! Shared by the tests of the middleware: a store with an issuer, and services to put layers around.

pub(crate) mod audit;
#[cfg(feature = "metrics")]
#[cfg_attr(
    not(all(feature = "postgres", feature = "testing", target_os = "linux")),
    allow(dead_code, reason = "with fewer features, fewer tests use it")
)]
pub(crate) mod book;
pub(crate) mod down;
#[cfg(unix)]
pub(crate) mod files;
#[cfg(any(feature = "testing", feature = "postgres"))]
pub(crate) mod log;
#[cfg(target_os = "linux")]
pub(crate) mod postgres;
#[cfg(any(feature = "sqlite", feature = "testing"))]
pub(crate) mod rows;
#[cfg_attr(
    not(all(feature = "sqlite", feature = "postgres", feature = "testing", target_os = "linux")),
    allow(
        dead_code,
        clippy::match_single_binding,
        reason = "with fewer features, fewer tests use it"
    )
)]
pub(crate) mod stores;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Extensions, Request, Response, Uri};
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, Checksum, KeyFormat, Lookup, Organization};
use tower_api_key::store::{Candidate, KeyStore, MemoryStore, StoreError};
use tower_api_key::{ApiKeyLayer, ApiKeys, AuthContext, Fence, IssueRequest, IssuedKey, Issuer, Respond};

/// A store, its issuer, and one organization.
pub(crate) struct House {
    pub(crate) store: MemoryStore,
    pub(crate) issuer: Issuer<MemoryStore>,
    pub(crate) organization: Organization,
}

impl House {
    pub(crate) async fn new() -> Self {
        let store = MemoryStore::new();
        // The scheme does not matter here, and this one is fast.
        let settings = ApiKeys::builder(store.clone()).hash_policy(HashPolicy::sha256());
        // With a checksum that the layers here, which open nothing, can verify.
        let format = KeyFormat::builder("key").checksum(Checksum::Crc32).build().unwrap();
        let issuer = settings.formats(format).checking().issuer().acting_as(Actor::service());
        let organization = issuer.create_organization("acme").await.unwrap();
        Self {
            store,
            issuer,
            organization,
        }
    }

    pub(crate) fn request(&self) -> IssueRequest {
        IssueRequest::new(self.organization.id, "a key")
    }

    pub(crate) async fn issue(&self, request: IssueRequest) -> IssuedKey {
        self.issuer.issue(request).await.unwrap()
    }

    /// The text of a key without limits, networks or expiry.
    pub(crate) async fn key(&self) -> String {
        text(&self.issue(self.request()).await)
    }

    pub(crate) fn layer(&self) -> ApiKeyLayer<MemoryStore> {
        ApiKeyLayer::new(self.store.clone())
    }
}

/// The error and all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" / {error} {error:?}");
        cause = error.source();
    }
    text
}

pub(crate) fn text(issued: &IssuedKey) -> String {
    issued.key.expose_secret().to_owned()
}

/// A key of the default format with the lookup of this one and another secret.
pub(crate) fn wrong_secret(key: &str) -> String {
    changed(key, 20)
}

/// A key of the default format that was never issued.
pub(crate) fn unknown(key: &str) -> String {
    changed(key, 0)
}

/// The key with one character of its body changed, and a right CRC-32 if it has one.
fn changed(key: &str, position: usize) -> String {
    let start = key.rfind('_').unwrap() + 1;
    let (body, checksum) = key[start..].split_at(44);
    let mut body = body.as_bytes().to_vec();
    body[position] = if body[position] == b'a' { b'b' } else { b'a' };
    let mut digits = checksum.as_bytes().to_vec();
    if digits.len() == 6 {
        let mut crc = crc32fast::hash(&body);
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[crc as usize % 62];
            crc /= 62;
        }
    }
    let (body, digits) = (String::from_utf8(body).unwrap(), String::from_utf8(digits).unwrap());
    format!("{}{body}{digits}", &key[..start])
}

/// A store whose reads wait for a permit.
pub(crate) struct Gated {
    inner: MemoryStore,
    pub(crate) permits: Arc<Semaphore>,
}

impl Gated {
    pub(crate) fn new(inner: MemoryStore) -> (Self, Arc<Semaphore>) {
        let permits = Arc::new(Semaphore::new(0));
        let gated = Self {
            inner,
            permits: permits.clone(),
        };
        (gated, permits)
    }
}

impl KeyStore for Gated {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
        self.inner.find(lookup).await
    }

    fn fence(&self) -> Option<&Fence> {
        self.inner.fence()
    }

    fn sharing(&self) -> tower_api_key::store::Sharing {
        self.inner.sharing()
    }
}

/// The request that an inner service got.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) uri: Uri,
    pub(crate) extensions: Extensions,
}

impl Seen {
    pub(crate) fn context(&self) -> Option<&AuthContext> {
        self.extensions.get()
    }
}

/// A service that puts the request it got into the response's extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Echo {
    pub(crate) calls: Arc<AtomicUsize>,
    /// The headers of the response.
    pub(crate) headers: HeaderMap,
}

impl Echo {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn answering(lines: &[(&'static str, &str)]) -> Self {
        let mut echo = Self::default();
        for (name, value) in lines {
            echo.headers.append(*name, value.parse().unwrap());
        }
        echo
    }
}

impl<Q> Service<Request<Q>> for Echo {
    type Response = Response<Bytes>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Bytes>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        // Here and not in the future, because `call` must not happen before the verdict either.
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (parts, _) = request.into_parts();
        let mut response = Response::new(Bytes::from_static(b"served"));
        *response.headers_mut() = self.headers.clone();
        response.extensions_mut().insert(Seen {
            headers: parts.headers,
            uri: parts.uri,
            extensions: parts.extensions,
        });
        std::future::ready(Ok(response))
    }
}

pub(crate) fn request(lines: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder().uri("/orders");
    for (name, value) in lines {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

pub(crate) fn bearer(key: &str) -> Request<()> {
    request(&[("authorization", &format!("Bearer {key}"))])
}

/// The answer of a new service of this layer around an [`Echo`].
pub(crate) async fn ask<S, R>(layer: &ApiKeyLayer<S, R>, request: Request<()>) -> Response<Bytes>
where
    S: KeyStore,
    R: Respond<Bytes>,
{
    ask_inner(layer, Echo::default(), request).await
}

pub(crate) async fn ask_inner<S, R>(layer: &ApiKeyLayer<S, R>, inner: Echo, request: Request<()>) -> Response<Bytes>
where
    S: KeyStore,
    R: Respond<Bytes>,
{
    layer.layer(inner).oneshot(request).await.unwrap()
}

/// What the inner service saw, if it was called.
pub(crate) fn seen(response: &Response<Bytes>) -> Option<&Seen> {
    response.extensions().get()
}

pub(crate) fn json(response: &Response<Bytes>) -> serde_json::Value {
    serde_json::from_slice(response.body()).unwrap()
}

pub(crate) fn field<'r, B>(response: &'r Response<B>, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}
