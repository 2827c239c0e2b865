//! Each step of the baseline alone.

use std::hint::black_box;
use std::time::Instant;

use http::{Extensions, HeaderMap};

use super::Warm;
use crate::support::baseline::{BaselineContext, credential, is_same, now, parse, strip, write_fields};
use crate::support::http::{bearer, request};
use crate::support::{median, nanoseconds};

const ROUNDS: usize = 21;
const CALLS: u32 = 20_000;

pub fn measure(warm: &Warm) {
    println!("steps of the baseline, ns each:");
    let baseline = &warm.baseline;
    let (key, asked) = (warm.keys[0].as_bytes(), request(&bearer(&warm.keys[0])));
    let (Some(parsed), Some(context)) = (parse(key), baseline.check(key)) else {
        return;
    };
    let tag = baseline.tag(&parsed);
    report("read both headers", || credential(black_box(asked.headers())));
    report("parse, with checksum", || parse(black_box(key)));
    report("keyed hash", || baseline.tag(black_box(&parsed)));
    report("find in the map", || baseline.find(black_box(&parsed)));
    report("compare", || is_same(black_box(&tag), black_box(&tag)));
    report("read the clock", now);
    let time = now();
    report("charge a limit", || context.entry().take(black_box(time)));
    each("strip", || asked.headers().clone(), strip);
    each(
        "insert the context",
        || (Extensions::new(), Some(context.clone())),
        insert,
    );
    each("write the fields", HeaderMap::new, |headers| {
        write_fields(headers, context.entry(), context.left());
    });
}

fn insert((extensions, context): &mut (Extensions, Option<BaselineContext>)) {
    if let Some(context) = context.take() {
        extensions.insert(context);
    }
}

fn report<T>(step: &str, mut call: impl FnMut() -> T) {
    let time = nanoseconds(ROUNDS, CALLS, || {
        let _ = black_box(call());
    });
    println!("  {step:24} {time:6.1}");
}

/// A step that consumes its subject. Neither making nor dropping the subject counts.
fn each<T>(step: &str, make: impl Fn() -> T, work: impl Fn(&mut T)) {
    let times = (0..ROUNDS * 20).map(|_| {
        let mut subjects: Vec<T> = (0..64).map(|_| make()).collect();
        let began = Instant::now();
        for subject in &mut subjects {
            work(black_box(subject));
        }
        began.elapsed().as_nanos() as f64 / subjects.len() as f64
    });
    println!("  {step:24} {:6.1}", median(times.collect()));
}
