//! How long a server takes until it is ready.

use super::database::{Database, MANY};
use crate::support::{Bounds, median};

const ROUNDS: usize = 9;
const BOUND: f64 = 2.0;

pub async fn run(bounds: &mut Bounds) {
    let (empty, full) = (Database::with(0).await, Database::with(MANY).await);
    let (mut of_empty, mut of_full) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut took = [0.0; 2];
        for turn in 0..2 {
            let side = (turn + round) % 2;
            let (_server, time) = [&empty, &full][side].serve().await;
            took[side] = time.as_secs_f64();
        }
        // The first one reads the program from the disk.
        if round > 0 {
            of_empty.push(took[0]);
            of_full.push(took[1]);
        }
    }
    let (of_empty, of_full) = (median(of_empty), median(of_full));
    println!(
        "ready after {:.1} ms, with {MANY} keys {:.1} ms",
        of_empty * 1e3,
        of_full * 1e3
    );
    bounds.check("start to ready, many keys / none", of_full / of_empty, ..=BOUND);
}
