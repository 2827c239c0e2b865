//! The contract of Tower services, and the guarantees that the layer adds.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::load_shed::LoadShed;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_api_key::store::{KeyStore, MemoryStore};
use tower_api_key::{
    ApiKeyLayer, ApiKeyService, AuthContext, HeadersOnly, ProblemJson, Rejection, RequireHttpsService, RequireScope,
    RequireScopeService, Respond, ResponseFuture, respond_fn,
};

use crate::support::{Echo, Gated, House, bearer, request};

fn poll_once<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets the tasks of a check run until they wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn ready<S: Service<Request<()>>>(service: &mut S) -> &mut S
where
    S::Error: std::fmt::Debug,
{
    service.ready().await.unwrap()
}

#[tokio::test]
async fn inner_service_is_not_called_before_the_verdict() {
    let house = House::new().await;
    let (store, permits) = Gated::new(house.store.clone());
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = {
        let calls = calls.clone();
        service_fn(move |_: Request<()>| {
            // Outside the async block, so it runs in `call`.
            calls.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, Infallible>(Response::new(Bytes::new())) }
        })
    };
    let mut service = ApiKeyLayer::new(store).layer(inner);

    // A key that is not cached.
    let key = house.key().await;
    let mut good = pin!(ready(&mut service).await.call(bearer(&key)));
    for _ in 0..5 {
        assert!(poll_once(good.as_mut()).is_pending());
        settle().await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    permits.add_permits(1);
    assert_eq!(good.await.unwrap().status(), StatusCode::OK);
    assert_eq!(calls.load(Ordering::SeqCst), 1);

    // Now it is cached: checked and called in `call`, without a poll.
    let warm = ready(&mut service).await.call(bearer(&key));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(warm.await.unwrap().status(), StatusCode::OK);

    // Refusals call nothing, whether decided at once or after a read.
    permits.add_permits(10);
    for bad in [
        String::from("rubbish"),
        crate::support::unknown(&key),
        crate::support::wrong_secret(&key),
    ] {
        let response = ready(&mut service).await.call(bearer(&bad)).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn future_dropped_while_checking_calls_nothing() {
    let house = House::new().await;
    let (store, permits) = Gated::new(house.store.clone());
    let echo = Echo::default();
    let mut service = ApiKeyLayer::new(store).layer(echo.clone());
    let key = house.key().await;
    {
        let mut future = Box::pin(ready(&mut service).await.call(bearer(&key)));
        assert!(poll_once(future.as_mut()).is_pending());
    }
    permits.add_permits(1);
    settle().await;
    assert_eq!(echo.calls(), 0);
}

#[tokio::test]
async fn instance_that_was_polled_ready_is_the_one_called() {
    let house = House::new().await;
    let key = house.key().await;
    let (mut service, mut handle) = tower_test::mock::spawn_layer::<Request<()>, Response<Bytes>, _>(house.layer());
    // First the key is read, then it is cached.
    for _ in 0..2 {
        tokio_ready(&mut service).await;
        let answer = service.call(bearer(&key));
        let serve = async {
            let (request, reply) = handle.next_request().await.unwrap();
            assert!(request.extensions().get::<AuthContext>().is_some());
            reply.send_response(Response::new(Bytes::from_static(b"served")));
        };
        let (answer, ()) = tokio::join!(answer, serve);
        assert_eq!(answer.unwrap().body(), "served");
    }
}

async fn tokio_ready<T: Service<Request<()>>>(service: &mut tower_test::mock::Spawn<T>)
where
    T::Error: std::fmt::Debug,
{
    std::future::poll_fn(|_| match service.poll_ready() {
        Poll::Ready(ready) => {
            ready.unwrap();
            Poll::Ready(())
        }
        Poll::Pending => panic!("the mock allows every request"),
    })
    .await;
}

#[tokio::test]
async fn service_is_not_ready_while_its_inner_is_not() {
    let house = House::new().await;
    let (mut service, mut handle) = tower_test::mock::spawn_layer::<Request<()>, Response<Bytes>, _>(house.layer());
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
}

#[tokio::test]
async fn buffered_service_is_called_after_a_check_that_waited() {
    let house = House::new().await;
    let buffered = Buffer::new(Echo::default(), 1);
    let mut service = house.layer().layer(buffered);
    let key = house.key().await;
    for _ in 0..3 {
        let response = ready(&mut service).await.call(bearer(&key)).await.unwrap();
        assert_eq!(response.body(), "served");
    }
}

#[tokio::test]
async fn refused_connection_that_stays_open_holds_no_permit() {
    let house = House::new().await;
    let (good, unknown) = (house.key().await, crate::support::unknown(&house.key().await));
    let limited = ConcurrencyLimit::new(Echo::default(), 1);
    let scoped = RequireScope::new("orders:read".parse().unwrap());
    let https = house
        .layer()
        .require_https("x-forwarded-proto", "10.0.0.0/8".parse().unwrap())
        .unwrap();

    let mut refused = house.layer().layer(limited.clone());
    let mut refused_by_scope = scoped.layer(limited.clone());
    let mut refused_by_transport = https.layer(limited.clone());
    // Refused at once, and after a check that waited.
    for key in ["rubbish", &unknown] {
        let response = ready(&mut refused).await.call(bearer(key)).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    ready(&mut refused_by_scope).await.call(request(&[])).await.unwrap();
    ready(&mut refused_by_transport).await.call(request(&[])).await.unwrap();

    // All three services still exist, and another connection gets the only permit.
    let mut other = house.layer().layer(limited);
    let mut is_ready = pin!(ServiceExt::<Request<()>>::ready(&mut other));
    let Poll::Ready(service) = poll_once(is_ready.as_mut()) else {
        panic!("a refused request keeps the permit");
    };
    let response = service.unwrap().call(bearer(&good)).await.unwrap();
    assert_eq!(response.body(), "served");
    drop((refused, refused_by_scope, refused_by_transport));
}

#[tokio::test]
async fn errors_of_the_inner_service_pass_through_unchanged() {
    let house = House::new().await;
    let key = house.key().await;
    let layer = house.layer();
    // Cached from here on, so that requests are called at once.
    crate::support::ask(&layer, bearer(&key)).await;

    let stuck = service_fn(|_: Request<()>| std::future::pending::<Result<Response<Bytes>, BoxError>>());
    let shed = LoadShed::new(ConcurrencyLimit::new(stuck, 1));
    let (mut one, mut two) = (layer.layer(shed.clone()), layer.layer(shed));
    let _under_way = ready(&mut one).await.call(bearer(&key));
    let second = ready(&mut two).await.call(bearer(&key)).await;
    assert!(second.unwrap_err().is::<tower::load_shed::error::Overloaded>());

    let failing = service_fn(|_: Request<()>| async { Err::<Response<Bytes>, &str>("its own error") });
    let error = layer.layer(failing).oneshot(bearer(&key)).await.unwrap_err();
    assert_eq!(error, "its own error");
}

#[tokio::test]
async fn bodies_pass_through_and_need_not_be_send() {
    struct Mine(Rc<Cell<u32>>);
    let house = House::new().await;
    let key = house.key().await;
    let inner = service_fn(|request: Request<Mine>| async move {
        request.body().0.set(request.body().0.get() + 1);
        Ok::<_, Infallible>(Response::new(Some(request.into_body())))
    });
    let layer = house.layer().responder(HeadersOnly);
    for (key, status) in [
        (&*key, StatusCode::OK),
        (&*key, StatusCode::OK),
        ("rubbish", StatusCode::UNAUTHORIZED),
    ] {
        let count = Rc::new(Cell::new(0));
        let request = bearer(key).map(|()| Mine(count.clone()));
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(count.get(), u32::from(status == StatusCode::OK));
        assert_eq!(response.body().is_some(), status == StatusCode::OK);
    }
}

#[tokio::test]
async fn services_give_access_to_their_inner_service() {
    let house = House::new().await;
    let layer = house.layer();
    let networks = "10.0.0.0/8".parse().unwrap();
    let https = layer.require_https("x-forwarded-proto", networks).unwrap();
    let scoped = RequireScope::new("orders:read".parse().unwrap());
    let mut service = https.layer(layer.layer(scoped.layer(vec![1])));
    service.get_mut().get_mut().get_mut().push(2);
    assert_eq!(service.get_ref().get_ref().get_ref(), &[1, 2]);
    assert_eq!(service.into_inner().into_inner().into_inner(), [1, 2]);
}

/// Responders as users write them, for their own body type.
#[tokio::test]
async fn any_closure_or_function_is_a_responder() {
    struct Text(String);
    fn plain(rejection: &Rejection, _request: &http::request::Parts) -> Response<Text> {
        Response::new(Text(rejection.to_string()))
    }
    async fn answer<R: Respond<Text>>(responder: R) -> Response<Text> {
        let house = House::new().await;
        let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Text(String::new()))));
        let layer = house.layer().responder(responder);
        layer.layer(inner).oneshot(request(&[])).await.unwrap()
    }
    let prefix = String::from("no: ");
    let inferred = respond_fn(move |rejection, request| {
        Response::new(Text(format!(
            "{prefix}{} {}",
            request.method,
            rejection.kind().as_str()
        )))
    });
    let annotated =
        |rejection: &Rejection, _: &http::request::Parts| Response::new(Text(rejection.status().to_string()));
    let bodies = [
        answer(inferred).await,
        answer(annotated).await,
        answer(plain).await,
        answer(ProblemJson::new().with_body(|bytes| Text(format!("{} bytes", bytes.len())))).await,
    ];
    for response in &bodies {
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"api\"");
    }
    let [inferred, annotated, plain, problem] = bodies.map(|response| response.into_body().0);
    assert_eq!(inferred, "no: GET missing_credential");
    assert_eq!(annotated, "401 Unauthorized");
    assert_eq!(plain, "request rejected: missing_credential");
    assert!(problem.ends_with(" bytes") && problem != "0 bytes");
}

#[test]
fn services_have_the_auto_traits_of_their_inner_service() {
    type Keyed<I> = ApiKeyService<I, MemoryStore, ProblemJson>;
    type Inner = Echo;
    assert_impl_all!(ApiKeyLayer<MemoryStore>: Clone, Send, Sync, Unpin, std::fmt::Debug);
    assert_impl_all!(Keyed<Inner>: Clone, Send, Sync, Unpin, std::fmt::Debug);
    assert_impl_all!(RequireScopeService<Inner, ProblemJson>: Clone, Send, Sync, Unpin);
    assert_impl_all!(RequireHttpsService<Inner, ProblemJson>: Clone, Send, Sync, Unpin);
    assert_not_impl_any!(Keyed<Rc<()>>: Send, Sync);
    assert_impl_all!(Keyed<Cell<u8>>: Send);
    assert_not_impl_any!(Keyed<Cell<u8>>: Sync);
    assert_impl_all!(ResponseFuture<Inner, ProblemJson, Bytes, Bytes>: Send);
    assert_not_impl_any!(ResponseFuture<Inner, ProblemJson, Rc<()>, Bytes>: Send);

    // A layer is `Clone` even if its store is not.
    assert_not_impl_any!(Gated: Clone);
    assert_impl_all!(ApiKeyLayer<Gated>: Clone);
    fn future_is_static<S: KeyStore>(layer: &ApiKeyLayer<S>) -> impl Future + Send + 'static + use<S> {
        layer.layer(Echo::default()).call(request(&[]))
    }
    let _ = future_is_static::<MemoryStore>;
}
