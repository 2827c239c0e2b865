//! Keys that have to be read: stale ones, and ones that nobody asked with before.

use std::time::{Duration, Instant};

use tower_api_key::key::Lookup;
use tower_api_key::store::{KeyStore, ManageKeys};
use tower_api_key::{Attempt, Authenticator};

use super::support::{Gates, keys, median, median_ratio, rounds};

const ROUNDS: usize = 41;
const READS: usize = 256;

pub fn measure(gates: &mut Gates) {
    let _ = gates;
}
