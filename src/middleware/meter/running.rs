//! One request from its call to the end of its response.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http::Request;

use super::super::handle::LayerHandle;
use super::settings::{Settings, method_name};
use crate::audit::Caller;
use crate::check::AuthContext;
use crate::clock::Monotonic;
use crate::key::Actor;
use crate::usage::{Ended, ErrorClass, Now, Running, Slot, UsageEvent, UsageStatus, leave};

/// What is known of a request, cheap to take: texts are made of it when its event is stored.
pub(super) struct MeteredRequest {
    settings: Arc<Settings>,
    context: AuthContext,
    route: Arc<str>,
    method: &'static str,
    agent: Option<Box<[u8]>>,
    began: Monotonic,
    slot: Slot,
    bytes_in: AtomicU64,
    /// How the response ended, and when.
    outcome: OnceLock<(Outcome, Monotonic)>,
    /// When the last one left an upgraded connection.
    left: OnceLock<Monotonic>,
}

/// How a response ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) status: UsageStatus,
    pub(super) bytes_out: u64,
    /// If it is not the status that says so.
    pub(super) error: Option<ErrorClass>,
    /// Whether the connection goes on, for another protocol.
    pub(super) is_upgrade: bool,
}

impl MeteredRequest {
    pub(super) fn new<Q>(settings: Arc<Settings>, context: AuthContext, request: &Request<Q>) -> Self {
        let slot = Slot::new();
        // The scope that the layer around requires decided before there was anything to note it in.
        if let Some(layer) = LayerHandle::of(&context)
            && layer.settings.scope.is_some()
        {
            slot.scope(layer.settings.scope.as_ref(), false);
        }
        Self {
            began: settings.meter.queue().clock.now(),
            route: settings.route_of(request.extensions()),
            method: method_name(request.method()),
            agent: settings.agent(request.headers()),
            settings,
            context,
            slot,
            bytes_in: AtomicU64::new(0),
            outcome: OnceLock::new(),
            left: OnceLock::new(),
        }
    }

    pub(super) fn read(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether a hold keeps the event open.
    pub(super) fn is_held(&self) -> bool {
        self.slot.is_held()
    }

    /// The response is over.
    pub(super) fn respond(self: Arc<Self>, outcome: Outcome) {
        // It ends once: the owner of the response calls this.
        let _ = self.outcome.set((outcome, self.settings.meter.queue().clock.now()));
        leave(self);
    }
}

impl Running for MeteredRequest {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn end(self: Arc<Self>) {
        let settings = self.settings.clone();
        let queue = settings.meter.queue();
        if self.outcome.get().is_some_and(|(outcome, _)| outcome.is_upgrade) {
            let _ = self.left.set(queue.clock.now());
        }
        // Without room it is dropped, and counted there.
        let _ = queue.offer(self);
    }
}

impl Ended for MeteredRequest {
    fn event(&self, now: Now) -> UsageEvent {
        let (context, noted) = (&self.context, self.slot.noted());
        let gone = Outcome {
            status: UsageStatus::NONE,
            bytes_out: 0,
            error: Some(ErrorClass::Cancelled),
            is_upgrade: false,
        };
        let (outcome, responded) = self.outcome.get().copied().unwrap_or((gone, now.monotonic));
        let ended = self.left.get().copied().unwrap_or(responded);
        let mut event = UsageEvent::new(context.organization().id, context.key_id(), now.at(self.began));
        event.user = context.user().and_then(|user| user.parse().ok());
        event.route = self.route.clone();
        event.method = self.method;
        event.status = outcome.status;
        event.scope = noted.scope;
        event.latency = ended.since(self.began);
        event.bytes_in = self.bytes_in.load(Ordering::Relaxed);
        event.bytes_out = outcome.bytes_out;
        event.tokens = noted.tokens;
        event.micro_usd = noted.micro_usd;
        event.tags = noted.tags;
        event.address = context
            .client_address()
            .and_then(|address| self.settings.address.of(address));
        event.agent = self.agent.as_deref().and_then(kept_agent);
        event.error = match noted.is_refused {
            true => Some(ErrorClass::Refused),
            false => outcome.error.or_else(|| ErrorClass::of(outcome.status)),
        };
        event
    }
}

/// As audit events keep it.
fn kept_agent(agent: &[u8]) -> Option<Box<str>> {
    let agent = String::from_utf8_lossy(agent);
    let caller = Caller::new(Actor::service()).user_agent(&agent);
    caller.agent().map(Into::into)
}
