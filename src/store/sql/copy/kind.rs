//! Types of columns that are copied.

/// What a column has.
#[derive(Clone, Copy)]
pub(in crate::store) enum Kind {
    Id,
    Number,
    Truth,
    Text,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A list in JSON.
    List,
    /// A map in JSON.
    Object,
    Bytes,
    /// 32 bytes.
    Hash,
}
