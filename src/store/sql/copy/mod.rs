//! Copies all rows of one database into another one, whichever databases these are.

mod cell;
mod end;
mod fill;
mod kind;
mod pages;
mod statements;
mod stopped;
mod table;

pub(in crate::store) use self::end::End;
pub(in crate::store) use self::fill::{Fault, Filled, fill};
#[cfg(all(test, feature = "postgres"))]
pub(in crate::store) use self::{
    kind::Kind,
    statements::texts_of_pages,
    table::{NOT_COPIED, REALM, TABLES},
};
