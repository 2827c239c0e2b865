//! What is timed. Guesses of both kinds are copied to one place and have characters of the same kinds, so that only the place of
//! the difference can tell.

use std::hint::black_box;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{NO_PAD, STANDARD_NO_PAD};
use subtle::ConstantTimeEq;
use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool};
use tower_api_key::key::{Actor, ApiKey, Checksum, KeyFormat, SecretHash, ServerSecret, ServerSecrets};
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeys, IssueRequest, PresentedKey};

const KEY: &str = "acme_live_0123456789ABabcdefghijklmnopqrstuvwxyzABCDEF0mLq17";
/// Of either kind.
const GUESSES: usize = 64;
/// An early end shows in a page of memory. In the 32 bytes of a digest it is lost in the noise of the clock.
const PAGE: usize = 4096 / size_of::<u64>();
const DIGEST: usize = 32 / size_of::<u64>();

pub struct Subject {
    pub name: &'static str,
    /// At the smaller size.
    pub samples: usize,
    /// Calls in one sample.
    pub calls: u32,
    /// Whether the test must find a difference, as in a control, or must find none. If neither, it is for comparison.
    pub must_be_found: Option<bool>,
    /// Times a guess that is wrong at its end, or at its start.
    pub run: Box<dyn FnMut(bool) -> Duration>,
}

pub fn all() -> Vec<Subject> {
    let mut subjects = vec![
        Subject {
            must_be_found: Some(true),
            ..slices("control: early exit, 4 KiB", PAGE, |one, other| one == other)
        },
        Subject {
            must_be_found: None,
            ..slices("early exit, 32 bytes", DIGEST, |one, other| one == other)
        },
        slices("digest compare, 4 KiB", PAGE, |one, other| one.ct_eq(other).into()),
        slices("digest compare, 32 bytes", DIGEST, |one, other| one.ct_eq(other).into()),
        keyed_checksum(),
        keyed_checksum_of_realm(),
    ];
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime")
    };
    let argon2 = HashPolicy::argon2id(Argon2Params::new(8, 1, 1).expect("parameters"));
    let hashed = |policy: &HashPolicy| {
        let hash = runtime().block_on(HashPool::global().hash(policy, &key()));
        hash.expect("a hash").as_str().to_owned()
    };
    let hashes = [
        ("sha256", 20_000, hashed(&HashPolicy::sha256())),
        ("sha512", 20_000, sha512()),
        ("argon2id", 10_000, hashed(&argon2)),
    ];
    #[cfg(feature = "legacy-hashes")]
    let legacy = [
        (
            "bcrypt-sha256",
            4_000,
            hashed(&HashPolicy::bcrypt_sha256(4).expect("a cost")),
        ),
        ("bcrypt", 4_000, bcrypt::hash(KEY, 4).expect("a hash")),
    ];
    #[cfg(not(feature = "legacy-hashes"))]
    let legacy = [];
    for (name, samples, hash) in hashes.into_iter().chain(legacy) {
        subjects.push(hash_scheme(name, samples, &hash, runtime()));
    }
    subjects
}

/// A guess of each kind, drawn at random.
struct Guesses<T>([Vec<T>; 2]);

impl<T> Guesses<T> {
    fn new(make: impl Fn(bool) -> T) -> Self {
        let mut guesses = [Vec::new(), Vec::new()];
        while guesses.iter().any(|guesses| guesses.len() < GUESSES) {
            let is_late = rand::random();
            guesses[usize::from(is_late)].push(make(is_late));
        }
        Self(guesses)
    }

    fn draw(&self, is_late: bool) -> &T {
        let guesses = &self.0[usize::from(is_late)];
        &guesses[usize::from(rand::random::<u8>()) % GUESSES]
    }
}

/// Times some calls, each of which must find the guess wrong.
fn time(calls: u32, mut is_right: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    for _ in 0..calls {
        assert!(!black_box(is_right()));
    }
    began.elapsed()
}

fn slices(name: &'static str, words: usize, are_equal: fn(&[u64], &[u64]) -> bool) -> Subject {
    let calls = 16;
    let secret: Vec<u64> = (0..words).map(|_| rand::random()).collect();
    let guesses = Guesses::new(|is_late| {
        let mut guess = secret.clone();
        guess[if is_late { words - 1 } else { 0 }] ^= 1;
        guess
    });
    let mut copy = secret.clone();
    Subject {
        name,
        samples: 100_000,
        calls,
        must_be_found: Some(false),
        run: Box::new(move |is_late| {
            copy.copy_from_slice(guesses.draw(is_late));
            time(calls, || are_equal(black_box(&secret), black_box(&copy)))
        }),
    }
}

/// A key whose checksum is wrong at its first digit, or at its last.
fn with_wrong_checksum(key: &str, is_late: bool) -> String {
    with_other_byte(key, key.len() - if is_late { 1 } else { 10 })
}

/// A format that has its secrets itself.
fn keyed_checksum() -> Subject {
    let secret = ServerSecret::new('a', &rand::random::<[u8; 32]>()).expect("a secret");
    let settings = KeyFormat::builder("acme").checksum(Checksum::Keyed(ServerSecrets::from(secret)));
    let format = settings.build().expect("a format");
    let generated = format.generate(Some("live")).expect("a key");
    let mut copy = String::new();
    let guesses = Guesses::new(|is_late| with_wrong_checksum(generated.key().expose_secret(), is_late));
    Subject {
        name: "keyed checksum",
        samples: 50_000,
        calls: 4,
        must_be_found: Some(false),
        run: Box::new(move |is_late| {
            copy.clone_from(guesses.draw(is_late));
            time(4, || format.parse(black_box(copy.as_bytes())).is_ok())
        }),
    }
}

/// The whole check of a forged key, under the secret of a realm.
fn keyed_checksum_of_realm() -> Subject {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let (keys, issued) = runtime.block_on(async {
        let settings = ApiKeys::builder(MemoryStore::new()).hash_policy(HashPolicy::sha256());
        let keys = settings.open().await.expect("a handle");
        let issuer = keys.issuer().acting_as(Actor::service());
        let acme = issuer.create_organization("acme").await.expect("an organization");
        let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.expect("a key");
        (keys, issued)
    });
    let mut copy = String::new();
    let guesses = Guesses::new(|is_late| with_wrong_checksum(issued.key.expose_secret(), is_late));
    let checks = keys.authenticator();
    Subject {
        name: "keyed checksum of a realm",
        samples: 50_000,
        calls: 4,
        must_be_found: Some(false),
        run: Box::new(move |is_late| {
            copy.clone_from(guesses.draw(is_late));
            time(4, || {
                let checked = checks.try_check(PresentedKey::new(black_box(copy.as_bytes())));
                checked.expect("a decision").is_ok()
            })
        }),
    }
}

fn key() -> ApiKey {
    ApiKey::from(String::from(KEY))
}

fn sha512() -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha512::digest(KEY);
    format!(
        "sha512:{}",
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    )
}

/// One key against stored hashes that differ from its own at their start, or at their end.
fn hash_scheme(name: &'static str, samples: usize, hash: &str, runtime: tokio::runtime::Runtime) -> Subject {
    let pool = HashPool::builder().niceness(0).expect("a niceness").build();
    let key = key();
    let right = SecretHash::new(hash).expect("a hash");
    let verified = runtime.block_on(pool.verify(&right, &key));
    assert!(verified.expect("an answer"), "{name}");
    let guesses = Guesses::new(|is_late| with_other_digest(hash, is_late));
    Subject {
        name,
        samples,
        calls: 1,
        must_be_found: Some(false),
        run: Box::new(move |is_late| {
            let guess = SecretHash::new(guesses.draw(is_late).as_str()).expect("a hash");
            time(1, || {
                let verified = runtime.block_on(pool.verify(black_box(&guess), &key));
                verified.expect("an answer")
            })
        }),
    }
}

/// A stored hash with another first or last byte of its digest.
fn with_other_digest(hash: &str, is_late: bool) -> String {
    let place = |digest: &[u8]| if is_late { digest.len() - 1 } else { 0 };
    let recoded = |front: usize, engine: &GeneralPurpose| {
        let (front, digest) = hash.split_at(front);
        let mut digest = engine.decode(digest).expect("a digest");
        let place = place(&digest);
        digest[place] ^= 1;
        format!("{front}{}", engine.encode(digest))
    };
    let last = hash.rfind(['$', ':']).expect("a tagged hash") + 1;
    match hash {
        _ if hash.starts_with("$argon2id$") => recoded(last, &STANDARD_NO_PAD),
        // A salt of 22 digits, and the digest.
        _ if hash.contains("$2b$") => recoded(last + 22, &GeneralPurpose::new(&BCRYPT, NO_PAD)),
        _ => with_other_byte(hash, if is_late { hash.len() - 1 } else { last }),
    }
}

/// With another digit for a digit and another letter for a letter: reading one kind may take longer than the other.
fn with_other_byte(text: &str, place: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[place] = match bytes[place] {
        b'0' => b'1',
        b'a' => b'b',
        b'A' => b'B',
        byte => byte - 1,
    };
    String::from_utf8(bytes).expect("ASCII")
}
