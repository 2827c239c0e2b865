//! Changes of many keys at once: off-boarding, and the descendants of a key.

mod change;
mod descendants;
mod digest;
mod preview;
mod selected;
mod selection;

pub(super) use self::change::Bulk;
pub use self::change::BulkChange;
pub use self::descendants::Descendants;
pub use self::digest::SelectionDigest;
pub use self::preview::SelectedKeys;
pub(super) use self::selected::Selected;
pub use self::selection::KeySelection;
