//! A barrier at which calls wait until a test opens it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// A place where calls wait until a test lets them go on: a race, made to happen in one order. Clones are one barrier.
///
/// ```
/// use tower_api_key::testing::Barrier;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let barrier = Barrier::new();
/// let call = tokio::spawn({
///     let barrier = barrier.clone();
///     async move { barrier.pass().await }
/// });
/// barrier.reached(1).await;
/// assert!(!call.is_finished());
/// barrier.open();
/// call.await.unwrap();
/// # });
/// ```
#[derive(Clone)]
pub struct Barrier(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Default)]
struct State {
    arrivals: usize,
    open: bool,
}

impl Barrier {
    /// A closed barrier.
    #[allow(clippy::new_without_default, reason = "a test says `new`")]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }

    /// Lets every call pass, those that wait and those to come.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Arrives, and waits until the barrier is open.
    pub async fn pass(&self) {
        self.0.send_modify(|state| state.arrivals += 1);
        self.until(|state| state.open).await;
    }

    /// Waits until so many calls have arrived, counted from the start, whether or not they passed.
    pub async fn reached(&self, calls: usize) {
        self.until(|state| state.arrivals >= calls).await;
    }

    /// How many calls have arrived.
    pub fn arrivals(&self) -> usize {
        self.0.borrow().arrivals
    }

    async fn until(&self, mut condition: impl FnMut(&State) -> bool) {
        // It fails only if the sender is dropped, which this barrier holds.
        let _ = self.0.subscribe().wait_for(|state| condition(state)).await;
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = *self.0.borrow();
        write!(f, "Barrier({} arrived, open: {})", state.arrivals, state.open)
    }
}
