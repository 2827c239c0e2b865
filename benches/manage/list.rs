//! The memory of lists.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use super::database::{Database, FEW, MANY, peak_kib};
use crate::support::{Bounds, not_measured};

/// A page more or less, and what the allocator keeps of those before.
const BOUND: f64 = 1.5;

pub async fn run(bounds: &mut Bounds) {
    if !cfg!(target_os = "linux") {
        not_measured("memory of lists", "it needs Linux");
        return;
    }
    let mut peaks = Vec::new();
    for keys in [FEW, MANY] {
        let database = Database::with(keys).await;
        let program = by_program(&database, keys);
        let server = by_server(&database, keys).await;
        println!("lists of {keys} keys: the program had {program} KiB at most, the server {server} KiB");
        peaks.push((program, server));
    }
    let [few, many] = peaks[..] else { return };
    bounds.check(
        "list by the program, memory, many keys / few",
        many.0 as f64 / few.0 as f64,
        ..=BOUND,
    );
    bounds.check(
        "list by the server, memory, many keys / few",
        many.1 as f64 / few.1 as f64,
        ..=BOUND,
    );
}

fn by_program(database: &Database, keys: usize) -> u64 {
    let mut command = database.command(&["list", "--json"]);
    let mut process = command.stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut output = process.stdout.take().expect("its output");
    let (mut lines, mut peak, mut buffer) = (0, 0, vec![0; 64 * 1024]);
    loop {
        let length = output.read(&mut buffer).expect("its output");
        // It cannot end before all was read, so the last one but what is in the pipe counts.
        peak = peak_kib(&process).unwrap_or(peak).max(peak);
        if length == 0 {
            break;
        }
        lines += buffer[..length].iter().filter(|byte| **byte == b'\n').count();
    }
    assert!(process.wait().expect("its end").success());
    assert!(lines >= keys, "{lines} of {keys} keys were listed");
    peak
}

async fn by_server(database: &Database, keys: usize) -> u64 {
    let (server, _) = database.serve().await;
    let (mut listed, mut after) = (0, String::new());
    loop {
        let page = server.get(&format!("/keys?organization=all&limit=1000{after}")).await;
        listed += page["items"].as_array().map_or(0, Vec::len);
        match &page["next"] {
            Value::String(next) => after = format!("&after={next}"),
            _ => break,
        }
    }
    assert!(listed >= keys, "{listed} of {keys} keys were listed");
    peak_kib(&server.process).expect("it runs")
}
