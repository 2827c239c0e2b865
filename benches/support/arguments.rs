//! The arguments of a bench.

/// Whether cargo runs this as a bench. `cargo test --benches` starts it too; it does nothing then.
pub fn is_bench() -> bool {
    ["--bench", "--print-only", "--callgrind"].into_iter().any(has_flag)
}

/// Whether this flag was given.
pub fn has_flag(flag: &str) -> bool {
    std::env::args().any(|argument| argument == flag)
}

/// The arguments that are not flags: the name of a bench, then the names of its parts.
pub fn words() -> impl Iterator<Item = String> {
    std::env::args().skip(1).filter(|argument| !argument.starts_with('-'))
}
