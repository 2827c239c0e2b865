//! The files of `docs/deploy`: the unit of systemd and the container file. What they run is read from them, and run.

mod container;
mod unit;

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> PathBuf {
    root().join("docs/deploy").join(name)
}
