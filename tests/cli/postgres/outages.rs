//! A connection that is lost in the middle of a command.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use super::{begun, of_user};
use crate::support::{Cli, said};

/// Passes on to a server, and cuts all connections once so many bytes of answers have gone through.
struct Cut {
    port: u16,
}

impl Cut {
    fn after(server: &str, bytes: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (server, left) = (server.to_owned(), Arc::new(AtomicI64::new(bytes)));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if left.load(Ordering::SeqCst) <= 0 {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server) else {
                    continue;
                };
                let (to, from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || pass(from, to, &AtomicI64::new(i64::MAX)));
                let left = left.clone();
                thread::spawn(move || pass(server, client, &left));
            }
        });
        Self { port }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64) {
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        let before = left.fetch_sub(read as i64, Ordering::SeqCst);
        if before < read as i64 || to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn lost_connection_is_one_sentence_and_exit_code_3() {
    let cli = begun();
    let (_, host) = cli.url().split_once('@').unwrap();
    let (server, database) = host.split_once('/').unwrap();
    let user = database;
    let mut done = 0;
    for bytes in [1, 300, 1_000, 3_000, 6_000, 12_000, 25_000, 50_000, 1 << 40] {
        let cut = Cut::after(server, bytes);
        let url = of_user(&format!("postgres://x@127.0.0.1:{}/{database}", cut.port), user);
        let name = format!("{bytes}.key");
        let mut command = cli.command(["create", "cut", "--org", "default", "--out", &name]);
        command.env("DATABASE_URL", url);
        let said = said(command, "");
        match said.code {
            0 => done += 1,
            3 => {
                assert!(
                    said.err.starts_with("api-keys: ") && said.err.lines().count() == 1,
                    "{bytes} {said:?}"
                );
                assert!(!cli.path(&name).exists(), "{bytes}: a file of a key that was not made");
            }
            _ => panic!("{bytes} {said:?}"),
        }
        if bytes == 1 {
            assert_eq!(said.code, 3, "{said:?}");
        }
    }
    assert!(done > 0, "without a cut it works");
    let made = cli.json(["list", "--name", "cut"]).len();
    assert!(made >= done, "{made} of {done}");
    cli.ok(["audit", "verify"]);
}

#[test]
fn server_that_goes_away_is_no_empty_answer() {
    let cli = Cli::of("postgres://alice@127.0.0.1:1/keys");
    for arguments in [
        &["list"][..],
        &["stats"],
        &["audit", "verify"],
        &["maintain", "--once"],
        &["migrate", "status"],
    ] {
        let said = cli.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{said:?}");
    }
}

/// A good key is not called an invalid one because nobody could look.
#[test]
fn lost_connection_says_nothing_of_a_key() {
    let cli = begun();
    let (_, host) = cli.url().split_once('@').unwrap();
    let (server, database) = host.split_once('/').unwrap();
    let key = cli.read("operator.key");
    let mut codes = Vec::new();
    for bytes in (0..24).map(|step| 1_000 + 1_000 * step).chain([1 << 40]) {
        let cut = Cut::after(server, bytes);
        let url = of_user(&format!("postgres://x@127.0.0.1:{}/{database}", cut.port), database);
        let mut command = cli.command(["verify"]);
        command.env("DATABASE_URL", url);
        let said = said(command, &key);
        assert!(matches!(said.code, 0 | 3), "{bytes} {said:?}");
        codes.push(said.code);
    }
    assert!(codes.contains(&3) && codes.ends_with(&[0]), "{codes:?}");
}
