//! The hash pool through its public API.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rstest::rstest;
use static_assertions::assert_impl_all;
use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool, HashPoolBuilder, PoolError, PoolErrorKind};
use tower_api_key::key::{Actor, ApiKey, KeyFormat, KeyFormats, SecretHash};
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeys, Authenticator, ConfigError, IssueRequest, RejectionKind};

use crate::house::brake::Brake;
use crate::house::process::is_alone;
use crate::house::{
    House, argon2, in_test_environment, kind, presented, presented_from, settle, text, until, with_other_secret,
};
use crate::support::audit::Audit;

assert_impl_all!(HashPool: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(PoolError: Clone, Send, Sync, std::error::Error);

const KEY: &str = "password";
const SMALL: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

type Verifying = Pin<Box<dyn Future<Output = Result<bool, PoolError>> + Send>>;

fn verify(pool: &HashPool, key: &str) -> Verifying {
    let (pool, key) = (pool.clone(), key_of(key));
    Box::pin(async move { pool.verify(&SecretHash::new(SMALL).unwrap(), &key).await })
}

fn key_of(text: &str) -> ApiKey {
    ApiKey::from(String::from(text))
}

fn small() -> HashPolicy {
    HashPolicy::argon2id(Argon2Params::new(8, 1, 1).unwrap())
}

#[tokio::test]
async fn future_that_is_never_polled_costs_nothing() {
    let pool = HashPool::builder().build();
    drop(verify(&pool, KEY));
    assert_eq!((pool.queued(), pool.hashes_run()), (0, 0));
}

#[test]
fn works_without_a_tokio_runtime() {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let pool = HashPool::builder().build();
    let mut job = verify(&pool, KEY);
    let answer = loop {
        match job.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => break answer,
            Poll::Pending => std::thread::park(),
        }
    };
    assert!(answer.unwrap());
}

#[tokio::test]
async fn panicking_job_costs_its_own_answer_only() {
    let panicking = Arc::new(AtomicBool::new(true));
    let threads = Arc::new(Mutex::new(HashSet::new()));
    let pool = {
        let (panicking, threads) = (panicking.clone(), threads.clone());
        HashPool::builder()
            .before_each_hash(move || {
                threads.lock().unwrap().insert(std::thread::current().id());
                assert!(!panicking.load(Ordering::SeqCst), "a panic on purpose");
            })
            .build()
    };
    for _ in 0..3 {
        let error = verify(&pool, KEY).await.unwrap_err();
        assert_eq!(error.kind(), PoolErrorKind::Failed);
    }
    panicking.store(false, Ordering::SeqCst);
    assert!(verify(&pool, KEY).await.unwrap());
    assert!(!verify(&pool, "wrong").await.unwrap());
    assert_eq!((pool.running(), pool.queued(), pool.hashes_run()), (0, 0, 5));
    assert_eq!(threads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn threads_end_with_the_last_handle() {
    // The hook is dropped with the last thread; the channel is then closed.
    let (announce, ended) = channel::<()>();
    let announce = Mutex::new(announce);
    let pool = HashPool::builder()
        .workers(3)
        .unwrap()
        .before_each_hash(move || drop(announce.lock()))
        .build();
    let clone = pool.clone();
    assert!(verify(&pool, KEY).await.unwrap());
    drop(pool);
    assert!(verify(&clone, KEY).await.unwrap());
    assert!(
        ended
            .try_recv()
            .is_err_and(|error| error == std::sync::mpsc::TryRecvError::Empty)
    );
    drop(clone);
    // The bound only turns a hang into a failure.
    let last = ended.recv_timeout(Duration::from_secs(30));
    assert_eq!(last, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn workers_are_nicer_and_the_process_is_not() {
    let before = rustix::process::getpriority_process(None).unwrap();
    for (asked, expected) in [(10, before.max(10)), (0, before)] {
        let seen = Arc::new(Mutex::new(None));
        let pool = {
            let seen = seen.clone();
            HashPool::builder()
                .niceness(asked)
                .unwrap()
                .before_each_hash(move || {
                    *seen.lock().unwrap() = rustix::process::getpriority_process(None).ok();
                })
                .build()
        };
        assert!(verify(&pool, KEY).await.unwrap());
        assert_eq!(*seen.lock().unwrap(), Some(expected));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), before);
    }
}

#[tokio::test]
async fn hash_many_keeps_order_with_the_smallest_queue() {
    let keys: Vec<ApiKey> = (0..40).map(|number| key_of(&format!("key {number}"))).collect();
    for workers in [1, 3] {
        let builder = HashPool::builder().queue_per_worker(1).unwrap();
        let pool = builder.workers(workers).unwrap().build();
        for (policy, scheme) in [(small(), "argon2id"), (HashPolicy::sha256(), "sha256")] {
            let hashes = pool.hash_many(&policy, &keys).await.unwrap();
            assert_eq!(hashes.len(), keys.len());
            for (number, (hash, key)) in hashes.iter().zip(&keys).enumerate() {
                assert_eq!(hash.scheme(), scheme);
                assert!(pool.verify(hash, key).await.unwrap(), "{number}");
            }
        }
        assert_eq!(pool.hash_many(&small(), &[]).await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn hash_many_leaves_most_of_the_queue_to_others() {
    let (brake, pool) = Brake::pool();
    let running = tokio::spawn(verify(&pool, KEY));
    brake.reached(1).await;
    assert!(pool.capacity() > 8);
    let keys: Vec<ApiKey> = (0..8).map(|_| key_of(KEY)).collect();
    let policy = small();
    let mut many = Box::pin(pool.hash_many(&policy, &keys));
    assert!(many.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(pool.queued(), 2);
    brake.open();
    assert_eq!(many.await.unwrap().len(), 8);
    assert!(running.await.unwrap().unwrap());
}

/// Jobs of `hash_many` never run out while it runs, so it must not come before those whom it keeps waiting.
#[tokio::test]
async fn hash_many_takes_turns_with_client_that_was_wrong() {
    let pool = HashPool::builder()
        .before_each_hash(|| std::thread::sleep(Duration::from_millis(5)))
        .build();
    assert!(!verify(&pool, "wrong").await.unwrap());
    let keys: Vec<ApiKey> = (0..40).map(|_| key_of(KEY)).collect();
    let (policy, before) = (small(), pool.hashes_run());
    let check = async {
        assert!(verify(&pool, KEY).await.unwrap());
        pool.hashes_run() - before
    };
    let (hashes, waited) = tokio::join!(pool.hash_many(&policy, &keys), check);
    assert_eq!(hashes.unwrap().len(), keys.len());
    assert!(waited <= 6, "the check waited for {waited} hashes");
}

#[tokio::test]
async fn hash_many_salts_equal_keys_and_tells_others_apart() {
    let pool = HashPool::builder().workers(2).unwrap().build();
    let texts = ["same", "same", "caf\u{e9}", "cafe\u{301}", "\0", "", "\u{1f511}"];
    let keys: Vec<ApiKey> = texts.into_iter().map(key_of).collect();
    for policy in [small(), HashPolicy::sha256()] {
        let hashes = pool.hash_many(&policy, &keys).await.unwrap();
        for (hash, made_of) in hashes.iter().zip(texts) {
            for text in texts {
                assert_eq!(
                    pool.verify(hash, &key_of(text)).await.unwrap(),
                    text == made_of,
                    "{text}"
                );
            }
        }
    }
    let hashes = pool.hash_many(&small(), &keys).await.unwrap();
    assert_ne!(hashes[0].as_str(), hashes[1].as_str());
}

#[tokio::test]
async fn dropped_hash_many_leaves_no_job_behind() {
    let pool = HashPool::builder()
        .workers(2)
        .unwrap()
        .queue_per_worker(8)
        .unwrap()
        .build();
    let keys: Vec<ApiKey> = (0..1_000).map(|number| key_of(&number.to_string())).collect();
    for _ in 0..100 {
        let _ = tokio::time::timeout(Duration::from_micros(300), pool.hash_many(&small(), &keys)).await;
        // Those that run go on to their end; no other begins.
        assert_eq!(pool.queued(), 0);
        assert!(pool.running() <= 2);
    }
    while pool.running() > 0 {
        tokio::task::yield_now().await;
    }
    let run = pool.hashes_run();
    assert!(
        pool.verify(&SecretHash::new(SMALL).unwrap(), &key_of(KEY))
            .await
            .unwrap()
    );
    assert_eq!(pool.hashes_run(), run + 1);
    // Two at once, with room for all that they submit together.
    let policy = small();
    let (one, two) = tokio::join!(
        pool.hash_many(&policy, &keys[..100]),
        pool.hash_many(&policy, &keys[..100])
    );
    assert_eq!((one.unwrap().len(), two.unwrap().len()), (100, 100));
}

#[tokio::test]
async fn hash_many_ends_at_the_first_error() {
    let calls = Mutex::new(0);
    let pool = HashPool::builder()
        .before_each_hash(move || {
            let mut calls = calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *calls += 1;
            assert!(*calls != 3, "a panic on purpose");
        })
        .build();
    let keys: Vec<ApiKey> = (0..9).map(|_| key_of(KEY)).collect();
    let error = pool.hash_many(&small(), &keys).await.unwrap_err();
    assert_eq!(error.kind(), PoolErrorKind::Failed);
    assert!(verify(&pool, KEY).await.unwrap());
    assert_eq!(pool.queued(), 0);
}

#[rstest]
#[case(HashPool::builder().workers(0), "hash workers", "between 1 and 64, got 0")]
#[case(HashPool::builder().workers(65), "hash workers", "between 1 and 64, got 65")]
#[case(HashPool::builder().queue_per_worker(0), "hash queue per worker", "between 1 and 1024, got 0")]
#[case(HashPool::builder().queue_per_worker(1025), "hash queue per worker", "between 1 and 1024, got 1025")]
#[case(HashPool::builder().deadline(Duration::ZERO), "hash deadline", "between 10ms and 60s, got 0ns")]
#[case(HashPool::builder().deadline(Duration::from_nanos(1)), "hash deadline", "between 10ms and 60s, got 1ns")]
#[case(HashPool::builder().deadline(Duration::from_secs(61)), "hash deadline", "between 10ms and 60s, got 61s")]
#[case(HashPool::builder().niceness(20), "hash niceness", "between 0 and 19, got 20")]
fn out_of_range_settings_are_refused(
    #[case] result: Result<HashPoolBuilder, ConfigError>,
    #[case] setting: &str,
    #[case] bounds: &str,
) {
    let error = result.unwrap_err();
    assert_eq!(error.setting(), setting);
    assert_eq!(error.to_string(), format!("invalid {setting}: must be {bounds}"));
}

#[tokio::test]
async fn capacity_follows_the_measured_time_of_a_hash() {
    let pool = HashPool::builder().workers(3).unwrap().build();
    // Eight seconds of hashes of 30 ms.
    assert_eq!(pool.capacity(), 3 * 266);
    for _ in 0..100 {
        assert!(verify(&pool, KEY).await.unwrap());
    }
    assert!((3 * 266 + 1..=4096).contains(&pool.capacity()), "{}", pool.capacity());
    let pool = HashPool::builder()
        .workers(3)
        .unwrap()
        .queue_per_worker(5)
        .unwrap()
        .build();
    assert!(verify(&pool, KEY).await.unwrap());
    assert_eq!(pool.capacity(), 15);
}

/// As many keys as a service has clients, all at once after a restart.
#[tokio::test]
async fn two_hundred_keys_at_once_are_hashed_without_a_refusal() {
    let pool = HashPool::builder().build();
    let house = House::with_pool(argon2(), pool, |builder| builder).await;
    let mut keys = Vec::new();
    for _ in 0..200 {
        keys.push(house.key().await);
    }
    let checks: Vec<_> = (keys.iter())
        .map(|issued| tokio::spawn(house.authenticator.check(presented(text(issued)))))
        .collect();
    for check in checks {
        check.await.unwrap().unwrap();
    }
    assert_eq!(house.pool.hashes_run(), 200);
}

/// A test of a service pauses time, and hashes with the default cost.
#[tokio::test(start_paused = true)]
async fn issuing_and_checking_work_in_paused_time() {
    let keys = ApiKeys::checking(MemoryStore::new());
    let issuer = keys.issuer().acting_as(Actor::service());
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
    let began = tokio::time::Instant::now();
    let authenticator = keys.authenticator();
    authenticator.check(presented(text(&issued))).await.unwrap();
    let wrong = authenticator
        .check(presented(&with_other_secret(text(&issued), 1)))
        .await;
    assert_eq!(kind(&wrong), RejectionKind::WrongSecret);
    // Of a format whose lookups can be guessed, an unknown key costs a hash.
    let pool = HashPool::builder().build();
    let guessable = Authenticator::builder(MemoryStore::new()).formats(KeyFormat::cmpz());
    let guessable = guessable.pool(pool.clone()).build();
    let unknown = guessable
        .check(presented("cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV"))
        .await;
    assert_eq!((kind(&unknown), pool.hashes_run()), (RejectionKind::UnknownKey, 1));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// The page faults of this thread so far (proc_pid_stat(5), field 10).
#[cfg(target_os = "linux")]
fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    after_name.split_whitespace().nth(7).unwrap().parse().unwrap()
}

/// Fresh memory is faulted in page by page, at most 2 MiB at a time. Kept memory is there.
#[cfg(target_os = "linux")]
#[rstest]
#[case::default_parameters(HashPool::builder(), 64 << 10, true)]
#[case::policy_that_needs_more(HashPool::builder(), 96 << 10, true)]
#[case::beyond_the_set_amount(HashPool::builder().keep_memory_for(Argon2Params::OWASP), 64 << 10, false)]
#[tokio::test]
async fn worker_keeps_memory_for_policies_unless_set(
    #[case] builder: HashPoolBuilder,
    #[case] kib: u32,
    #[case] is_kept: bool,
) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let pool = {
        let seen = seen.clone();
        let builder = builder.deadline(Duration::from_secs(60)).unwrap();
        builder
            .before_each_hash(move || seen.lock().unwrap().push(page_faults()))
            .build()
    };
    let policy = HashPolicy::argon2id(Argon2Params::new(kib, 1, 1).unwrap());
    for _ in 0..6 {
        pool.hash(&policy, &key_of(KEY)).await.unwrap();
    }
    // The least, since other things cause page faults too. The first hash has fresh memory in any case.
    let seen = seen.lock().unwrap();
    let least = seen[1..].windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert_eq!(least < 16, is_kept, "{least} page faults: {seen:?}");
}

/// Wrong keys, or keys that do not exist, of a format whose lookups can be guessed.
#[rstest]
#[case::wrong_keys(false)]
#[case::unknown_keys(true)]
#[tokio::test]
async fn flood_of_one_address_leaves_room_for_another(#[case] is_unknown: bool) {
    let (brake, pool) = Brake::pool();
    let formats = KeyFormats::new([KeyFormat::default(), KeyFormat::cmpz()]).unwrap();
    let house = House::with_pool(argon2(), pool, |builder| builder.formats(formats)).await;
    let check = |key: &str, address: &str| tokio::spawn(house.authenticator.check(presented_from(key, address)));
    let mut flood = Vec::new();
    for number in 0..=house.pool.capacity() {
        let key = match is_unknown {
            true => format!("cmpz_{:A<32}", format!("{number:02}")),
            false => with_other_secret(text(&house.key().await), number),
        };
        flood.push(check(&key, "192.0.2.1"));
        if number == 0 {
            brake.reached(1).await;
        }
    }
    until(|| house.pool.queued() == house.pool.capacity()).await;

    let newcomer = match is_unknown {
        true => check(&format!("cmpz_{:Z<32}", ""), "198.51.100.1"),
        false => check(text(&house.key().await), "198.51.100.1"),
    };
    settle().await;
    assert!(!newcomer.is_finished());
    assert_eq!(house.pool.queued(), house.pool.capacity());
    let displaced = flood.pop().unwrap();
    assert!(displaced.is_finished() && !flood.iter().any(|job| job.is_finished()));
    assert_eq!(kind(&displaced.await.unwrap()), RejectionKind::Busy);

    brake.open();
    let checked = newcomer.await.unwrap();
    match is_unknown {
        true => assert_eq!(kind(&checked), RejectionKind::UnknownKey),
        false => assert!(checked.is_ok()),
    }
    for job in flood {
        assert!(job.await.unwrap().is_err());
    }
}

/// What a debug build of another crate would show: Argon2 takes half a second there.
#[cfg(all(target_os = "linux", debug_assertions))]
#[test]
fn slow_hashes_of_a_debug_build_are_warned_about_once() {
    use rustix::time::{ClockId, clock_gettime};

    if !is_alone("hash_pool::slow_hashes_of_a_debug_build_are_warned_about_once") {
        return;
    }
    let audit = Audit::for_all_threads();
    let used = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let pool = HashPool::builder()
        .before_each_hash(move || {
            let began = used();
            while used() - began < Duration::from_millis(260) {
                std::hint::spin_loop();
            }
        })
        .build();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for _ in 0..2 {
            assert!(verify(&pool, KEY).await.unwrap());
        }
    });
    let warnings = audit.all_of_level(tracing::Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for line in ["[profile.dev.package.argon2]", "opt-level = 3"] {
        assert!(warnings[0].fields.contains(line), "{warnings:?}");
    }
}

/// A client that knows a lookup must not find out by the time whether it is one of test or of live keys.
#[tokio::test]
async fn wrong_environment_and_prefix_cost_the_hash_of_a_wrong_secret() {
    let (one, other) = (KeyFormat::new("key").unwrap(), KeyFormat::new("other").unwrap());
    let formats = KeyFormats::new([one, other]).unwrap();
    let house = House::with_pool(argon2(), HashPool::builder().build(), |builder| {
        builder.formats(formats)
    })
    .await;
    let issued = house.key().await;
    let forged = [
        with_other_secret(text(&issued), 1),
        in_test_environment(text(&issued)),
        text(&issued).replacen("key_", "other_", 1),
    ];
    for (hashes, forged) in (1..).zip(&forged) {
        assert_eq!(house.refusal(forged).await, RejectionKind::WrongSecret);
        assert_eq!(house.pool.hashes_run(), hashes, "{forged}");
    }
    house.check(text(&issued)).await.unwrap();
}
