//! What keys were used for: each admitted request counted once, summed by minute, hour and day.
//!
//! A [`MeterLayer`](crate::MeterLayer) inside the [`ApiKeyLayer`](crate::ApiKeyLayer) makes an [event](UsageEvent) of each request, when
//! its response has ended. A [`Meter`] takes events without waiting, and hands them in batches to a [sink](UsageSink), which answers
//! [questions](UsageExt) about their sums.
//!
//! | part | what it does |
//! |---|---|
//! | [`Meter`], [`MeterCounts`] | a bounded queue; what was stored, what was dropped |
//! | [`UsageEvent`], [`Tags`], [`UsageStatus`], [`ErrorClass`] | what is known of one request |
//! | [`UsageSink`], [`UsageBatch`] | where events go, each once |
//! | [`UsageExt`], [`UsageRange`], [`UsageOf`] | what can be asked |
//! | [`MemoryUsage`] | a sink that answers questions, until the process ends |
//! | [`LatencyBucket`], [`percentile`] | how long requests took, in buckets that add up |

mod ask;
mod batch;
mod error;
mod event;
mod flusher;
mod latency;
mod memory;
mod meter;
mod question;
mod queue;
mod rollup;
mod seen;
mod sink;
mod slot;
mod status;
mod sums;
mod tags;

pub use self::ask::UsageExt;
pub use self::batch::{UsageBatch, UsageSource};
pub use self::error::{UsageError, UsageErrorKind};
pub(crate) use self::event::route_of;
pub use self::event::{KeptAddress, NO_ROUTE, OTHER_ROUTE, UsageEvent};
pub use self::latency::{LatencyBucket, percentile};
pub use self::memory::MemoryUsage;
pub use self::meter::{Meter, MeterBuilder};
pub use self::question::{
    By, Consumer, Consumers, EndpointUsage, ErrorUsage, Latencies, Question, UsageAnswer, UsageOf, UsageRange,
};
pub use self::queue::MeterCounts;
pub(crate) use self::queue::{Ended, Now};
pub use self::rollup::Grain;
pub use self::sink::{UsageQuery, UsageSink};
pub use self::slot::UsageHold;
pub(crate) use self::slot::{Running, Slot, leave};
pub use self::status::{ErrorClass, UsageStatus};
pub use self::sums::UsageSums;
pub use self::tags::Tags;
