//! The program `api-keys`.

fn main() {}
