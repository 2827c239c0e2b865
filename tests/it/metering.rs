//! The meter: an event for each admitted request, whatever becomes of it.

mod axum_events;
mod counts;
mod ends;
mod grpc;
mod questions;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use bytes::Bytes;
use http::{Request, Response};
use tower::ServiceExt;
use tower_api_key::usage::{Meter, UsageBatch, UsageError, UsageEvent, UsageSink};
use tower_api_key::{ApiKeyLayer, MeterLayer};

use crate::house::{House, text};

/// A sink that keeps every event.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<UsageEvent>>>);

impl UsageSink for Events {
    async fn write(&self, batch: Arc<UsageBatch>) -> Result<(), UsageError> {
        self.0.lock().unwrap().extend(batch.events.iter().cloned());
        Ok(())
    }
}

/// A key, a meter, and what it has stored.
struct Metering {
    house: House,
    key: String,
    meter: Meter,
    events: Events,
}

impl Metering {
    async fn new() -> Self {
        let house = House::new().await;
        let key = text(&house.known_key().await).to_owned();
        let events = Events::default();
        let meter = Meter::builder()
            .clock(house.hand.clock())
            .start(events.clone())
            .unwrap();
        Self {
            house,
            key,
            meter,
            events,
        }
    }

    fn layer(&self) -> MeterLayer {
        MeterLayer::new(&self.meter).route(|extensions| Some(extensions.get::<MatchedPath>()?.as_str()))
    }

    fn keys(&self) -> ApiKeyLayer<impl tower_api_key::store::KeyStore> {
        ApiKeyLayer::from(self.house.authenticator.clone())
    }

    /// The routes, metered, for keys alone.
    fn around(&self, routes: Router) -> Router {
        routes.route_layer(self.layer()).route_layer(self.keys())
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("x-api-key", &self.key)
    }

    async fn get(&self, app: &Router, path: &str) -> Response<Bytes> {
        let request = self.request("GET", path).body(Body::empty()).unwrap();
        read(app.clone().oneshot(request).await.unwrap()).await
    }

    /// All events, once the meter is closed.
    async fn events(self) -> Vec<UsageEvent> {
        self.meter.close().await;
        let counts = self.meter.counts();
        let events = self.events.0.lock().unwrap().clone();
        assert_eq!(
            (counts.accepted, counts.stored, counts.dropped, counts.queued),
            (events.len() as u64, events.len() as u64, 0, 0)
        );
        events
    }
}

async fn read(response: Response<Body>) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    Response::from_parts(head, axum::body::to_bytes(body, 1 << 20).await.unwrap())
}
