//! Rotations: a new secret for a key, and their end.

use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::{One, issued, show};
use crate::failure::Failure;
use crate::key_out::KeyOut;
use crate::text::duration;
use crate::work::Work;

/// Gives a key a new secret, ends the old one, or takes the new one back.
#[derive(Args, Debug)]
pub(crate) struct Rotate {
    #[command(flatten)]
    key: One,
    /// How long the old secret works beside the new one
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1d")]
    grace: Duration,
    /// Ends the old secret now. Asks first if it was used within a day
    #[arg(long, conflicts_with_all = ["take_back", "grace"])]
    finish: bool,
    /// Ends the new secret, and keeps the old one
    #[arg(long, conflicts_with = "grace")]
    take_back: bool,
    #[command(flatten)]
    out: KeyOut,
}

impl Rotate {
    pub(crate) async fn run(self, work: &Work) -> Result<(), Failure> {
        if self.finish {
            return self.finish(work).await;
        }
        if self.take_back {
            return show(
                work,
                self.key
                    .call(work, Method::POST, "/rotate/take-back", Value::Null)
                    .await?,
            );
        }
        let place = self.out.place(work.output)?;
        let body = json!({"grace": self.grace.as_secs()});
        match self.key.call(work, Method::POST, "/rotate", body).await {
            Ok(mut answer) => {
                place.put(&mut answer)?;
                issued(work, &answer)
            }
            Err(failure) => {
                place.give_up();
                Err(failure)
            }
        }
    }

    /// A client that was not given the new secret yet is locked out, so one that used the old one of late is said first.
    async fn finish(self, work: &Work) -> Result<(), Failure> {
        let id = self.key.id(work).await?;
        let path = format!("/keys/{id}/rotate/finish");
        let finish = async |unused_for: u64| {
            let body = json!({"unused_for": unused_for});
            work.api.call(Method::POST, &path, body).await
        };
        let finished = match finish(OF_LATE).await {
            Err(Failure::InUse(sentence)) => {
                let warning = format!("{sentence}: a client that still has it is locked out");
                match work.yes {
                    true => work.output.note(&format!("api-keys: {warning}"))?,
                    false => work.confirm(&format!("{warning}\nEnd the old secret of {id}"))?,
                }
                finish(0).await
            }
            finished => finished,
        };
        show(work, finished?)
    }
}

/// In seconds. What is run once a day has used it within that time.
const OF_LATE: u64 = 86_400;
