//! `record_on_span`: the key of a request, on the span of a `TraceLayer` around.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt};
use tower_api_key::ApiKeyLayer;
use tower_api_key::store::MemoryStore;
use tower_http::trace::TraceLayer;
use tracing::field::{Empty, Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Span, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::support::{Echo, House, bearer, request, text, unknown};

/// The fields that were recorded on spans of this thread.
#[derive(Clone, Default)]
struct Fields(Arc<Mutex<BTreeMap<String, String>>>);

impl Fields {
    fn take(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Fields {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes.record(&mut self.clone());
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut fields = self.0.lock().unwrap();
        fields.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

fn span(_: &Request<Full<Bytes>>) -> Span {
    tracing::info_span!(
        "request",
        api_key.id = Empty,
        api_key.organization = Empty,
        api_key.user = Empty
    )
}

async fn ask(layer: &ApiKeyLayer<MemoryStore>, request: Request<()>) -> Response<Bytes> {
    let traced = TraceLayer::new_for_http().make_span_with(span);
    let service = ServiceBuilder::new()
        .layer(traced)
        // `TraceLayer` needs a body.
        .map_response(|response: Response<Bytes>| response.map(Full::new))
        .layer(layer.clone())
        .service(Echo::default());
    let response = service.oneshot(request.map(|()| Full::default())).await.unwrap();
    response.map(|_| Bytes::new())
}

#[tokio::test]
async fn key_is_recorded_on_the_span_around() {
    let house = House::new().await;
    let issued = house.issue(house.request().user("alice".parse().unwrap())).await;
    let nobodys = house.issue(house.request()).await;
    let fields = Fields::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(fields.clone()));
    tracing::callsite::rebuild_interest_cache();
    let named = |id: tower_api_key::key::KeyId, user: Option<&str>| {
        let organization = house.organization.id.to_string();
        let mut expected = BTreeMap::from([
            ("api_key.id".to_owned(), id.to_string()),
            ("api_key.organization".to_owned(), organization),
        ]);
        expected.extend(user.map(|user| ("api_key.user".to_owned(), format!("{user:?}"))));
        expected
    };

    let layer = house.layer().record_on_span();
    // After a read, then cached.
    for _ in 0..2 {
        ask(&layer, bearer(&text(&issued))).await;
        assert_eq!(fields.take(), named(issued.record.id, Some("alice")));
        ask(&layer, bearer(&text(&nobodys))).await;
        assert_eq!(fields.take(), named(nobodys.record.id, None));
    }
    // Refused, at once and after a read, but known.
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    for _ in 0..2 {
        let response = ask(&layer, bearer(&text(&issued))).await;
        assert_eq!(response.status(), 401);
        assert_eq!(fields.take(), named(issued.record.id, Some("alice")));
    }
    // Nobody knows whose these are.
    for request in [request(&[]), bearer("rubbish"), bearer(&unknown(&text(&issued)))] {
        ask(&layer, request).await;
        assert_eq!(fields.take(), BTreeMap::new());
    }
    // Off by default.
    ask(&house.layer(), bearer(&text(&nobodys))).await;
    assert_eq!(fields.take(), BTreeMap::new());
}
