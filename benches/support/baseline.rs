//! The baseline: the same check written by hand for one service and one key format, without a fence, traits or options.
//!
//! It takes the steps of a warm check, in the same order and with the same primitives, and does nothing else. So the ratio of
//! layer to baseline is the price of everything else that the layer does.

use std::future::Future;
use std::io::Write;
use std::mem::size_of;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use http::header::{AUTHORIZATION, CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tower_api_key::AuthContext;
use tower_api_key::key::RateLimit;
use tower_service::Service;

const LIVE: &[u8] = b"key_live_";
const TEST: &[u8] = b"key_test_";
const BODY: usize = 44;
const CHECKSUM: usize = 6;
const LOOKUP: usize = 12;

static API_KEY: HeaderName = HeaderName::from_static("x-api-key");
static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

pub struct Baseline {
    midstate: Sha256,
    known: Cache<[u8; LOOKUP], Arc<BaselineEntry>>,
}

pub struct BaselineEntry {
    tag: [u64; 4],
    is_active: bool,
    ends_at: u64,
    limit: Option<Gcra>,
}

/// One limit, by the generic cell rate algorithm.
struct Gcra {
    name: Box<str>,
    burst: u32,
    interval: u64,
    window: u64,
    arrival: AtomicU64,
}

#[derive(Clone, Copy)]
pub struct Left {
    remaining: u32,
    next_unit: u64,
}

/// The context in the request's extensions. As large as the crate's own, because inserting copies it.
#[derive(Clone)]
pub struct BaselineContext {
    entry: Arc<BaselineEntry>,
    left: Option<Left>,
    _as_large: [u64; FILLING],
}

const FILLING: usize = size_of::<AuthContext>() / 8 - 1 - size_of::<Option<Left>>() / 8;
const _: () = assert!(size_of::<BaselineContext>() == size_of::<AuthContext>());

pub struct Parsed<'a> {
    environment: u8,
    body: &'a [u8],
    lookup: [u8; LOOKUP],
}

impl Baseline {
    /// A baseline with these keys in its map, each with this limit.
    pub fn new(keys: &[String], limit: Option<&RateLimit>) -> Self {
        let block: [u8; 64] = rand::random();
        let baseline = Self {
            midstate: Sha256::new_with_prefix(block),
            // More than the number of keys, so that nothing is evicted.
            known: Cache::new(keys.len() * 4 + 64),
        };
        for key in keys {
            let parsed = parse(key.as_bytes()).expect("a key of the default format");
            let entry = BaselineEntry {
                tag: baseline.tag(&parsed),
                is_active: true,
                ends_at: u64::MAX,
                limit: limit.map(|limit| Gcra {
                    name: limit.name().into(),
                    burst: limit.burst_size().get(),
                    interval: limit.interval().as_nanos() as u64,
                    window: limit.burst_window().as_nanos() as u64,
                    arrival: AtomicU64::new(0),
                }),
            };
            baseline.known.insert(parsed.lookup, Arc::new(entry));
        }
        baseline
    }

    /// The whole check of one key.
    pub fn check(&self, key: &[u8]) -> Option<BaselineContext> {
        let parsed = parse(key)?;
        let tag = self.tag(&parsed);
        let entry = self.find(&parsed)?;
        if !is_same(&entry.tag, &tag) {
            return None;
        }
        let now = now();
        if !entry.is_active || now >= entry.ends_at {
            return None;
        }
        let left = match &entry.limit {
            Some(limit) => Some(limit.take(now)?),
            None => None,
        };
        Some(BaselineContext {
            entry,
            left,
            _as_large: [0; FILLING],
        })
    }

    pub fn tag(&self, parsed: &Parsed<'_>) -> [u64; 4] {
        let digest = self
            .midstate
            .clone()
            .chain_update([parsed.environment])
            .chain_update(parsed.body)
            .finalize();
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(digest.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words
    }

    pub fn find(&self, parsed: &Parsed<'_>) -> Option<Arc<BaselineEntry>> {
        self.known.get(&parsed.lookup)
    }
}

impl BaselineEntry {
    pub fn take(&self, now: u64) -> Option<Left> {
        self.limit.as_ref()?.take(now)
    }
}

impl Gcra {
    fn take(&self, now: u64) -> Option<Left> {
        let mut arrival = self.arrival.load(Ordering::Acquire);
        loop {
            let next = arrival.max(now) + self.interval;
            if next > now + self.window {
                return None;
            }
            match self
                .arrival
                .compare_exchange_weak(arrival, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    let left = self.window - (next - now);
                    return Some(Left {
                        remaining: (left / self.interval) as u32,
                        next_unit: self.interval - left % self.interval,
                    });
                }
                Err(seen) => arrival = seen,
            }
        }
    }
}

/// The key in the headers. None if there are several, or if another line holds a copy of it, which the handler would see.
pub fn credential(headers: &HeaderMap) -> Option<&[u8]> {
    let (mut found, mut longest) = (None, 0);
    // One pass over all headers: looking up a name takes as long as passing a dozen of them.
    for (name, line) in headers {
        let key = if *name == AUTHORIZATION {
            strip_scheme(line.as_bytes())
        } else if *name == API_KEY {
            Some(line.as_bytes())
        } else {
            None
        };
        match key {
            Some(key) if found.replace(key).is_some() => return None,
            Some(_) => {}
            None => longest = longest.max(line.len()),
        }
    }
    let key = found?;
    (longest < key.len() || !is_copied(headers, key)).then_some(key)
}

#[cold]
fn is_copied(headers: &HeaderMap, key: &[u8]) -> bool {
    let is_other = |name: &HeaderName| *name != AUTHORIZATION && *name != API_KEY;
    let holds = |line: &HeaderValue| line.as_bytes().windows(key.len().max(1)).any(|part| part == key);
    headers.iter().any(|(name, line)| is_other(name) && holds(line))
}

fn strip_scheme(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

/// Reads a key by fixed lengths, and verifies its checksum.
pub fn parse(key: &[u8]) -> Option<Parsed<'_>> {
    let (environment, body) = match key.strip_prefix(LIVE) {
        Some(body) => (0, body),
        None => (1, key.strip_prefix(TEST)?),
    };
    if body.len() != BODY + CHECKSUM {
        return None;
    }
    let is_base62 = |&byte: &u8| byte.wrapping_sub(b'0') < 10 || (byte | 0x20).wrapping_sub(b'a') < 26;
    if !body.iter().fold(true, |all, byte| all & is_base62(byte)) {
        return None;
    }
    let (front, digits) = body.split_at(BODY);
    let mut number = 0u64;
    for &digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'Z' => digit - b'A' + 10,
            _ => digit - b'a' + 36,
        };
        number = number * 62 + u64::from(value);
    }
    if number != u64::from(crc32fast::hash(front)) {
        return None;
    }
    let mut lookup = [0; LOOKUP];
    lookup.copy_from_slice(&body[..LOOKUP]);
    Some(Parsed {
        environment,
        body,
        lookup,
    })
}

pub fn is_same(one: &[u64; 4], other: &[u64; 4]) -> bool {
    one[..].ct_eq(&other[..]).into()
}

/// The time of the crate's own clock.
#[cfg(target_os = "linux")]
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
pub fn now() -> u64 {
    tower_api_key::Clock::system().now().as_nanos()
}

/// Removes the credential, so that inner layers do not see it.
pub fn strip(headers: &mut HeaderMap) {
    if headers.remove(&AUTHORIZATION).is_none() {
        headers.remove(&API_KEY);
    }
}

/// Writes the headers of an admitted response.
pub fn write_fields(headers: &mut HeaderMap, entry: &BaselineEntry, left: Option<Left>) {
    headers.append(VARY, HeaderValue::from_static("authorization, x-api-key"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    let (Some(limit), Some(left)) = (&entry.limit, left) else {
        return;
    };
    let mut text = [0; 160];
    let length = {
        let mut rest = &mut text[..];
        let window = limit.window.div_ceil(1_000_000_000);
        let _ = write!(rest, "\"{}\";q={};w={window}", limit.name, limit.burst);
        160 - rest.len()
    };
    if let Ok(policy) = HeaderValue::from_bytes(&text[..length]) {
        headers.insert(&RATE_LIMIT_POLICY, policy);
    }
    let length = {
        let mut rest = &mut text[..];
        let seconds = left.next_unit.div_ceil(1_000_000_000);
        let _ = write!(rest, "\"{}\";r={};t={seconds}", limit.name, left.remaining);
        160 - rest.len()
    };
    if let Ok(state) = HeaderValue::from_bytes(&text[..length]) {
        headers.insert(&RATE_LIMIT, state);
    }
}

/// The baseline as a Tower service.
#[derive(Clone)]
pub struct BaselineService<I> {
    inner: I,
    baseline: Arc<Baseline>,
    writes_fields: bool,
}

impl<I> BaselineService<I> {
    pub fn new(inner: I, baseline: Arc<Baseline>) -> Self {
        Self {
            inner,
            baseline,
            writes_fields: true,
        }
    }

    pub fn without_success_fields(self) -> Self {
        Self {
            writes_fields: false,
            ..self
        }
    }
}

impl BaselineContext {
    pub fn entry(&self) -> &BaselineEntry {
        &self.entry
    }

    pub fn left(&self) -> Option<Left> {
        self.left
    }
}

impl<I, Q, B> Service<Request<Q>> for BaselineService<I>
where
    I: Service<Request<Q>, Response = Response<B>>,
    B: Default,
{
    type Response = Response<B>;
    type Error = I::Error;
    type Future = BaselineFuture<I::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let Some(context) = credential(request.headers()).and_then(|key| self.baseline.check(key)) else {
            return BaselineFuture::Refused;
        };
        strip(request.headers_mut());
        let (entry, left) = (context.entry.clone(), context.left);
        request.extensions_mut().insert(context);
        BaselineFuture::Admitted {
            inner: self.inner.call(request),
            entry,
            left,
            writes_fields: self.writes_fields,
        }
    }
}

pin_project! {
    #[project = Projected]
    pub enum BaselineFuture<F> {
        Admitted { #[pin] inner: F, entry: Arc<BaselineEntry>, left: Option<Left>, writes_fields: bool },
        Refused,
    }
}

impl<F, B, E> Future for BaselineFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Admitted {
                inner,
                entry,
                left,
                writes_fields,
            } => {
                let mut response = ready!(inner.poll(cx))?;
                if *writes_fields {
                    write_fields(response.headers_mut(), entry, *left);
                }
                Poll::Ready(Ok(response))
            }
            Projected::Refused => {
                let mut response = Response::new(B::default());
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                Poll::Ready(Ok(response))
            }
        }
    }
}
