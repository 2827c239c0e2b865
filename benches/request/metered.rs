//! What an event of usage costs a request: the same layer with and without a meter inside.
//!
//! Events are made of what was metered when they are stored, by a task of its own: that is not on a request's way, and not timed.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tokio::runtime::Runtime;
use tower_api_key::usage::{Meter, UsageBatch, UsageError, UsageSink};
use tower_api_key::{ApiKeyLayer, CountedBody, MeterLayer, MeteredBody};
use tower_layer::Layer;
use tower_service::Service;

use super::{REQUESTS, ROUNDS, Warm};
use crate::support::http::{Answered, Asked, Body, Handler, timed};
use crate::support::{Bounds, median, median_ratio, rounds};

/// The events of this many requests.
struct Nowhere;

impl UsageSink for Nowhere {
    async fn write(&self, _: Arc<UsageBatch>) -> Result<(), UsageError> {
        Ok(())
    }
}

/// The handler behind a meter.
#[derive(Clone)]
struct Metered;

impl Service<Request<CountedBody<Empty<Bytes>>>> for Metered {
    type Response = Answered;
    type Error = Infallible;
    type Future = <Handler as Service<Asked>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Handler.poll_ready(context)
    }

    fn call(&mut self, request: Request<CountedBody<Empty<Bytes>>>) -> Self::Future {
        Handler.call(request.map(CountedBody::into_inner))
    }
}

/// Ends the body of a response, as a server does.
struct Ending<S>(S);

type End = fn(Response<MeteredBody<Body>>) -> Answered;

impl<S> Service<Asked> for Ending<S>
where
    S: Service<Asked, Response = Response<MeteredBody<Body>>, Error = Infallible>,
{
    type Response = Answered;
    type Error = Infallible;
    type Future = MapOk<S::Future, End>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Asked) -> Self::Future {
        self.0
            .call(request)
            .map_ok(|response| response.map(|_| Full::default()))
    }
}

pub(super) fn measure(runtime: &Runtime, warm: &Warm, bounds: &mut Bounds) {
    let started = runtime.block_on(async { Meter::builder().queue(4 * REQUESTS).expect("a length").start(Nowhere) });
    let meter = started.expect("a meter");
    let credentials = warm.credentials();
    let (mut bare, mut layer) = (Handler, ApiKeyLayer::from(warm.authenticator.clone()).layer(Handler));
    let metered = MeterLayer::new(&meter).route(|_| Some("/orders/{id}")).layer(Metered);
    let mut metered = Ending(ApiKeyLayer::from(warm.authenticator.clone()).layer(metered));
    let ok = StatusCode::OK;
    let times = rounds(
        ROUNDS,
        &mut [
            &mut || timed(&mut bare, &credentials, REQUESTS, ok),
            &mut || timed(&mut layer, &credentials, REQUESTS, ok),
            &mut || {
                let time = timed(&mut metered, &credentials, REQUESTS, ok);
                runtime.block_on(async {
                    while meter.counts().queued > 0 {
                        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    }
                });
                time
            },
        ],
    );
    let [bare, layer, metered] = times.as_slice() else {
        return;
    };
    let minus = |side: &[f64], other: &[f64]| -> Vec<f64> { side.iter().zip(other).map(|(a, b)| a - b).collect() };
    let (check, event) = (minus(layer, bare), minus(metered, layer));
    let name = warm.name();
    bounds.check(
        &format!("usage event / warm check, {name}"),
        median_ratio(&event, &check),
        ..=0.4,
    );
    let each = |side: &[f64]| median(side.to_vec()) / REQUESTS as f64;
    println!("  check {:.0} ns, event {:.0} ns a request", each(&check), each(&event));
    assert_eq!(meter.counts().dropped, 0, "a full queue costs less");
}
