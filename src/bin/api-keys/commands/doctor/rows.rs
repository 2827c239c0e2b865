//! Rows: the clocks of those who made them, keys that anyone can make up, and the audit trail.

use std::time::{Duration, SystemTime};

use tower_api_key::key::{SecretForm, Timestamp};
use tower_api_key::store::query::{AuditEvents, CountKeysOfForm, TheRealm};
use tower_api_key::{ApiKeys, AuditAnchors, AuditErrorKind};

use super::{Checks, Doctor};
use crate::database::Database;
use crate::failure::chain;

/// What clocks may differ by, in milliseconds. Services warn of more.
const DIFFERENCE: i64 = 2_000;

pub(super) async fn look(checks: &mut Checks, keys: &ApiKeys) {
    crc(checks, keys).await;
    future(checks, keys).await;
    match keys.statistics(None).await {
        Ok(numbers) if numbers.expiring > 0 => {
            checks.note(
                "keys",
                format!("{} active, {} end within 30 days", numbers.active, numbers.expiring),
            );
        }
        Ok(numbers) => checks.good("keys", format!("{} active", numbers.active)),
        Err(error) => checks.wrong("keys", chain(&error)),
    }
}

/// Whether a clock agrees with that of this machine, which it is so many milliseconds ahead of.
pub(super) fn clock(checks: &mut Checks, whose: &str, ahead: i64) {
    let seconds = ahead.unsigned_abs().div_ceil(1_000);
    match ahead {
        ahead if ahead.abs() <= DIFFERENCE => checks.good("clock", format!("{whose} agrees with that of this machine")),
        ahead => {
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            checks.wrong(
                "clock",
                format!(
                    "{whose} is {seconds} s {side} that of this machine: keys end early or late, and from 30 s on services are not ready. \
                     Let both follow a time server (NTP)"
                ),
            );
        }
    }
}

/// Rows that were made later than now, by a machine with another clock, or before this one was set back.
async fn future(checks: &mut Checks, keys: &ApiKeys) {
    let now = Timestamp::now();
    let later = AuditEvents::all().since(now.after(Duration::from_millis(DIFFERENCE.unsigned_abs())));
    match keys.read(later.page(1)).await {
        Err(error) => checks.wrong("clock", chain(&error)),
        Ok(page) => match page.items.first() {
            None => checks.good("clock", "no row is from the future"),
            Some(entry) => checks.wrong(
                "clock",
                format!(
                    "the audit trail has an event of {}, and here it is {now}: this clock is behind, or another one was ahead. Let all \
                     machines follow a time server (NTP)",
                    entry.event.at
                ),
            ),
        },
    }
}

async fn crc(checks: &mut Checks, keys: &ApiKeys) {
    let now = Timestamp::now();
    match keys.read(TheRealm).await {
        Ok(realm) if realm.accepts_crc(now) => {
            let count = keys.read(CountKeysOfForm {
                form: SecretForm::Crc32,
                at: now,
            });
            let count = count
                .await
                .map_or_else(|_| "some".to_owned(), |count| count.number.to_string());
            checks.wrong(
                "CRC keys",
                format!(
                    "{count} keys with a checksum that anyone can compute are accepted until {}: rotate them",
                    realm.crc_accepted_until
                ),
            );
        }
        Ok(_) => checks.good("CRC keys", "none are accepted"),
        Err(error) => checks.wrong("CRC keys", chain(&error)),
    }
}

pub(super) async fn anchors(checks: &mut Checks, keys: &ApiKeys, database: &Database, doctor: &Doctor) {
    let Some(path) = doctor.anchor.as_deref().or(database.config().anchor_file()) else {
        return checks.note(
            "anchors",
            "no file of anchors was named, by --anchor or by audit.anchor_file of the configuration: a trail that is cut off or made anew \
             is not found without",
        );
    };
    let mut anchors = match AuditAnchors::read(path) {
        Err(error) => return checks.wrong("anchors", chain(&error)),
        Ok(anchors) if anchors.is_empty() => {
            return checks.wrong("anchors", format!("{} has none", path.display()));
        }
        Ok(anchors) => anchors,
    };
    super::files::mode(checks, "anchors", path);
    // In memory: the file stays as it is.
    let moved = match keys.audit().anchor(&mut anchors).await {
        Ok(moved) => moved,
        Err(error) if error.kind() == AuditErrorKind::Broken => {
            return checks.wrong(
                "anchors",
                format!(
                    "the trail does not go on from them, so it was cut off or made anew: api-keys audit verify --anchor {}",
                    path.display()
                ),
            );
        }
        Err(error) => return checks.wrong("anchors", chain(&error)),
    };
    let age = std::fs::metadata(path)
        .and_then(|file| file.modified())
        .map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    match age {
        Err(error) => checks.wrong("anchors", error.to_string()),
        Ok(_) if moved == 0 => checks.good("anchors", "they have the end of the trail"),
        Ok(age) if age > doctor.anchor_age => checks.wrong(
            "anchors",
            format!(
                "they are {} minutes old, and the trail has gone on since: what was added could be cut off unseen. Run api-keys audit anchor, \
                 or serve and maintain with an anchor file",
                age.as_secs() / 60
            ),
        ),
        Ok(_) => checks.good("anchors", "they are young enough"),
    }
}
