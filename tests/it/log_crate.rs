//! What a service with the `log` crate sees, and without a subscriber of `tracing`.

use std::sync::Mutex;

use log::{LevelFilter, Log, Metadata, Record};

use crate::house::process::is_alone;
use crate::support::{House, ask, bearer, unknown};

struct Lines(Mutex<Vec<String>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.target() == "tower_api_key::audit" {
            self.0.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

static LINES: Lines = Lines(Mutex::new(Vec::new()));

#[tokio::test]
async fn log_has_admitted_and_refused_requests() {
    if !is_alone("log_crate::log_has_admitted_and_refused_requests") {
        return;
    }
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let house = House::new().await;
    let (layer, key) = (house.layer(), house.key().await);
    ask(&layer, bearer(&key)).await;
    ask(&layer, bearer(&unknown(&key))).await;
    ask(&layer, bearer("rubbish")).await;
    let lines = LINES.0.lock().unwrap();
    let seen = |wanted: &str| lines.iter().filter(|line| line.contains(wanted)).count();
    assert_eq!(seen("outcome=\"admitted\""), 1, "{lines:?}");
    assert_eq!(seen("reason=\"unknown_key\""), 1, "{lines:?}");
    assert_eq!(seen("reason=\"malformed_key\""), 1, "{lines:?}");
}
