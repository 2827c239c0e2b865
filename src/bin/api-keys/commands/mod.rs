//! What commands do.

pub(crate) mod adopt;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod doctor;
pub(crate) mod files;
pub(crate) mod hygiene;
pub(crate) mod incident;
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod maintain;
pub(crate) mod migrate;
pub(crate) mod move_data;
mod pages;
mod route;
pub(crate) mod rows;
pub(crate) mod scan;
pub(crate) mod serve;
pub(crate) mod verify;
