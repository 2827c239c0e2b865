//! The layer that meters: it makes an event of each admitted request.
//!
//! `layer` begins a request (`running`), which is in its context then. Both bodies count their bytes
//! (`body`, `request_body`); the last to leave the request, the response or a hold, queues its event.

pub(crate) mod body;
pub(crate) mod future;
pub(crate) mod layer;
pub(crate) mod request_body;
mod routes;
mod running;
mod settings;
