//! What a bench was asked for.

/// Whether cargo runs this as a bench. `cargo test --benches` runs it too, and has no use for it.
pub fn is_bench() -> bool {
    ["--bench", "--no-gate", "--callgrind"].into_iter().any(has_flag)
}

/// Whether this argument was given.
pub fn has_flag(flag: &str) -> bool {
    std::env::args().any(|argument| argument == flag)
}

/// The arguments that are no flags: the name of a bench, and those of its parts.
pub fn words() -> impl Iterator<Item = String> {
    std::env::args().skip(1).filter(|argument| !argument.starts_with('-'))
}
