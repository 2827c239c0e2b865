//! A place where calls wait until a test lets them go on.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// A place where calls wait until a test lets them go on: a race, made to happen in one order. Clones are one gate.
///
/// ```
/// use tower_api_key::testing::Gate;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let gate = Gate::new();
/// let call = tokio::spawn({
///     let gate = gate.clone();
///     async move { gate.pass().await }
/// });
/// gate.reached(1).await;
/// assert!(!call.is_finished());
/// gate.open();
/// call.await.unwrap();
/// # });
/// ```
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Default)]
struct State {
    arrivals: usize,
    open: bool,
}

impl Gate {
    /// A closed gate.
    #[allow(clippy::new_without_default, reason = "a test says `new`")]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }

    /// Lets all pass who wait and who will come.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Arrives, and waits until the gate is open.
    pub async fn pass(&self) {
        self.0.send_modify(|state| state.arrivals += 1);
        self.until(|state| state.open).await;
    }

    /// Waits until `calls` have arrived here, counted from the beginning and whether or not they went on.
    pub async fn reached(&self, calls: usize) {
        self.until(|state| state.arrivals >= calls).await;
    }

    /// How many have arrived.
    pub fn arrivals(&self) -> usize {
        self.0.borrow().arrivals
    }

    async fn until(&self, mut condition: impl FnMut(&State) -> bool) {
        // An error would say that the sender is gone; this gate holds it.
        let _ = self.0.subscribe().wait_for(|state| condition(state)).await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = *self.0.borrow();
        write!(f, "Gate({} arrived, open: {})", state.arrivals, state.open)
    }
}
