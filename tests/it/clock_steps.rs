//! The system's clock is set while keys with an end are checked and issued.

use std::time::Duration;

use tower_api_key::key::{KeyFormat, Timestamp};
use tower_api_key::{IssueErrorKind, RejectionKind};

use crate::house::*;
use crate::support::audit::Audit;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn millis(time: Duration) -> i64 {
    time.as_millis() as i64
}

fn steps_back(audit: &Audit) -> usize {
    let warnings = audit.all_of_level(tracing::Level::WARN);
    warnings
        .iter()
        .filter(|warning| warning.fields.contains("set back"))
        .count()
}

impl House {
    fn now(&self) -> Timestamp {
        self.hand.clock().wall()
    }
}

#[tokio::test]
async fn undone_step_forward_gives_keys_their_time_back() {
    for step in [HOUR, 2 * YEAR] {
        let (audit, _guard) = Audit::start();
        let house = House::new().await;
        let request = house.request("key").expires_at(house.now().after(HOUR / 2));
        let issued = house.issuer.issue(request).await.unwrap();
        house.check(text(&issued)).await.unwrap();

        house.hand.step_wall(millis(step));
        house.everything_changed();
        assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyExpired);
        house.hand.advance(2 * SECOND);
        house.hand.step_wall(-millis(step));
        house.check(text(&issued)).await.unwrap();
        let new = house.request("new").expires_at(house.now().after(HOUR / 4));
        let new = house.issuer.issue(new).await.unwrap();
        house.check(text(&new)).await.unwrap();
        assert_eq!(steps_back(&audit), 1);

        // And then they end when they should.
        house.hand.advance(HOUR / 2 - 2 * SECOND - Duration::from_millis(1));
        house.check(text(&issued)).await.unwrap();
        house.hand.advance(Duration::from_millis(1));
        assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyExpired);
    }
}

#[tokio::test]
async fn start_with_a_clock_ahead_is_corrected_without_a_restart() {
    let (audit, _guard) = Audit::start();
    let house = House::new().await;
    // What an hour from now is, while the clock is two hours ahead.
    let end = Timestamp::from_millis(house.now().as_millis() - millis(HOUR));
    let issued = house.key().await;
    let change = move |record: &mut tower_api_key::key::KeyRecord| record.expires_at = Some(end);
    house.issuer.update(issued.record.id, change).await.unwrap();
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyExpired);
    house.hand.step_wall(-millis(2 * HOUR));
    // A glitch would not last.
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyExpired);
    house.hand.advance(10 * SECOND);
    house.check(text(&issued)).await.unwrap();
    let new = house.request("new").expires_at(end);
    let new = house.issuer.issue(new).await.unwrap();
    house.check(text(&new)).await.unwrap();
    assert_eq!(steps_back(&audit), 1);

    house.hand.advance(HOUR - 10 * SECOND);
    for issued in [issued, new] {
        assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyExpired);
    }
}

#[tokio::test]
async fn step_back_revives_no_key_whose_end_was_reached() {
    let house = House::new().await;
    let end = house.now().after(HOUR);
    let cached = house
        .issuer
        .issue(house.request("cached").expires_at(end))
        .await
        .unwrap();
    let unread = house
        .issuer
        .issue(house.request("unread").expires_at(end))
        .await
        .unwrap();
    let rotated = house.key().await;
    let _new = house.issuer.rotate(rotated.record.id, HOUR).await.unwrap();
    house.check(text(&cached)).await.unwrap();
    house.hand.advance(HOUR + SECOND);
    house.hand.step_wall(-millis(24 * HOUR));
    for _ in 0..3 {
        for key in [&cached, &unread, &rotated] {
            assert_eq!(house.refusal(text(key)).await, RejectionKind::KeyExpired);
        }
        house.everything_changed();
        house.hand.advance(10 * SECOND);
    }
    // The step counts by now, but a key with an end that was reached could not work.
    assert!(house.now() < end);
    let refused = house
        .issuer
        .issue(house.request("late").expires_at(end))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::InvalidRequest);
    let refused = house.issuer.rotate(cached.record.id, HOUR).await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::Expired);
    // The old secret is gone, so there is room for another one.
    let newest = house.issuer.rotate(rotated.record.id, HOUR / 2).await.unwrap();
    house.check(text(&newest)).await.unwrap();
}

#[tokio::test]
async fn short_step_back_prolongs_no_key() {
    let house = House::new().await;
    let end = house.now().after(HOUR);
    let issued = house.issuer.issue(house.request("key").expires_at(end)).await.unwrap();
    house.hand.step_wall(-millis(2 * HOUR));
    house.check(text(&issued)).await.unwrap();
    house.hand.advance(2 * SECOND);
    house.hand.step_wall(millis(2 * HOUR));
    house.hand.advance(HOUR - 2 * SECOND);
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyExpired);
}

#[tokio::test]
async fn expired_keys_cost_no_reads_while_the_clock_is_right() {
    let house = House::new().await;
    let request = house.request("key").expires_in(HOUR);
    let issued = house.issuer.issue(request).await.unwrap();
    house.check(text(&issued)).await.unwrap();
    house.hand.advance(HOUR);
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyExpired);
    let reads = house.faults().finds();
    for _ in 0..100 {
        assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyExpired);
    }
    assert_eq!(house.faults().finds(), reads);
}

/// A stream that was opened while the clock was ahead goes on to the real end of its key.
#[tokio::test(start_paused = true)]
async fn stream_outlives_the_end_of_a_wrong_clock() {
    let house = House::new().await;
    let request = house.request("key").expires_in(2 * HOUR);
    let issued = house.issuer.issue(request).await.unwrap();
    house.hand.step_wall(millis(HOUR));
    let context = house.check(text(&issued)).await.unwrap();
    let watching = tokio::spawn(context.revoked());
    settle().await;
    house.hand.advance(2 * SECOND);
    house.hand.step_wall(-millis(HOUR));
    let pass = async |time: Duration| {
        house.hand.advance(time);
        tokio::time::advance(time).await;
        settle().await;
    };
    for _ in 0..119 {
        pass(60 * SECOND).await;
        assert!(!watching.is_finished());
    }
    pass(60 * SECOND).await;
    assert!(watching.is_finished());
}

#[tokio::test]
async fn time_in_keys_is_corrected_too() {
    let house = House::new().await;
    let issuer = house.issuer_of(KeyFormat::gml());
    let start = house.now();
    house.hand.step_wall(millis(HOUR));
    let _ahead = issuer.issue(house.request("ahead")).await.unwrap();
    house.hand.step_wall(-millis(HOUR));
    let issued = issuer.issue(house.request("right")).await.unwrap();
    let seconds = (start.as_millis() / 1_000).to_string();
    assert_eq!(text(&issued).split('_').nth(1), Some(&*seconds));
    assert_eq!(issued.record.created_at, start);
}
