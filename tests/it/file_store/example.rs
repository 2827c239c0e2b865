//! The example `file_keys`, as a process.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::Folder;
use crate::wire::request;

#[tokio::test]
async fn example_serves_the_keys_of_its_file_until_they_are_removed() {
    let folder = Folder::new();
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/file_keys");
    assert!(
        path.exists(),
        "build the examples first: cargo build --examples --all-features"
    );
    let mut process = Command::new(path)
        .env("LISTEN", "127.0.0.1:0")
        .env("TMPDIR", folder.path(""))
        .env_remove("API_KEYS")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        line.unwrap().unwrap().expect("the example ended")
    };
    let wrote = next().await;
    let key = wrote
        .split("x-api-key: ")
        .nth(1)
        .unwrap()
        .trim_end_matches('\'')
        .to_owned();
    assert!(key.starts_with("acme_live_"), "{wrote}");
    assert_eq!(next().await, "keys: 1");
    let listening = next().await;
    let address = listening.strip_prefix("listening on http://").unwrap().parse().unwrap();

    let ask = async || request(address, "GET", "/", &[("x-api-key", key.as_bytes())]).await;
    let answer = ask().await;
    assert_eq!((answer.status, answer.text()), (200, "hello, acme\n"));
    folder.replace("file_keys.toml", "keys = []\n[end]\n");
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while ask().await.status != 401 {
        assert!(std::time::Instant::now() < deadline, "the removed key goes on working");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
