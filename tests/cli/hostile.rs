//! Servers that are not what was meant, or mean harm.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::support::{Cli, Said, said};

/// Answers every request in the same way, and notes it.
struct Wrong {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Wrong {
    fn start(answer: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                noted.lock().unwrap().push(read_request(&stream));
                // The program may have seen enough.
                let _ = answer(&mut stream);
            }
        });
        Self { address, requests }
    }

    /// One that sends this status and body.
    fn saying(status: &str, headers: &str, body: &str) -> Self {
        let text = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        Self::start(move |stream| stream.write_all(text.as_bytes()))
    }

    fn run(&self, cli: &Cli, arguments: &[&str]) -> Said {
        let mut command = cli.command(arguments);
        command
            .args(["--server", &format!("http://{}/api", self.address)])
            .env("API_KEYS_TOKEN_FILE", cli.path("operator.key"));
        said(command, "")
    }
}

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    head
}

const ID: &str = "01900000-0000-7000-8000-000000000001";

/// As of the page on which a proxy asks people to log in.
#[test]
fn success_of_another_program_is_none() {
    let cli = Cli::new();
    let commands: &[&[&str]] = &[
        &["list"],
        &["create", "a", "--out", "a.key"],
        &["rotate", ID, "--out", "a.key"],
        &["revoke", ID, "--yes"],
        &["disable", ID],
        &["org", "create", "acme"],
        &["org", "show", "acme"],
        &["role", "delete", "reader", "--yes"],
        &["plan", "show", "basic"],
        &["bulk", "revoke", "--user", "42", "--yes"],
        &["audit", "list"],
    ];
    for body in ["<html>Log in</html>", "", "[1]", "null", "\"ok\""] {
        let server = Wrong::saying("200 OK", "", body);
        for command in commands {
            let said = server.run(&cli, command);
            assert_eq!((said.code, said.out.as_str()), (3, ""), "{command:?} {body} {said:?}");
            assert!(said.err.contains("none of the management API"), "{said:?}");
            assert!(!cli.path("a.key").exists(), "{command:?} {body}");
        }
    }
    // JSON, but not what was asked for.
    let server = Wrong::saying("200 OK", "content-type: application/json\r\n", "{\"status\": \"ok\"}");
    for command in [
        commands[0],
        commands[1],
        commands[2],
        &["show", "abcdefgh"],
        &["plan", "show", "basic"],
    ] {
        let said = server.run(&cli, command);
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{command:?} {said:?}");
        assert!(!cli.path("a.key").exists(), "{command:?}");
    }
}

#[test]
fn page_that_is_sent_again_and_again_ends_the_list() {
    let cli = Cli::new();
    let server = Wrong::saying("200 OK", "", "{\"items\": [], \"next\": \"more\"}");
    for command in [&["list"][..], &["org", "list"], &["audit", "list"]] {
        let said = server.run(&cli, command);
        assert_eq!(said.code, 3, "{command:?} {said:?}");
        assert!(said.err.contains("same page"), "{said:?}");
    }
}

#[test]
fn answer_without_an_end_is_cut() {
    let cli = Cli::new();
    let server = Wrong::start(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        loop {
            stream.write_all(chunk.as_bytes())?;
        }
    });
    let said = server.run(&cli, &["list"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("cannot be read"), "{said:?}");
}

#[test]
fn server_that_is_silent_is_given_up() {
    let cli = Cli::new();
    // One says nothing at all, and one goes on without coming to an end.
    let hang = |stream: &mut TcpStream| stream.read_exact(&mut [0]);
    let silent = Wrong::start(hang);
    let slow = Wrong::start(move |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")?;
        hang(stream)
    });
    for server in [silent, slow] {
        let said = server.run(&cli, &["create", "a", "--out", "a.key", "--timeout", "200ms"]);
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.err.contains("whether it was done is not known"), "{said:?}");
        assert!(!cli.path("a.key").exists());
    }
}

#[test]
fn refusal_says_when_to_try_again() {
    let cli = Cli::new();
    for (status, code) in [("429 Too Many Requests", 1), ("503 Service Unavailable", 3)] {
        let server = Wrong::saying(status, "retry-after: 7\r\n", "{\"detail\": \"too many\"}");
        let said = server.run(&cli, &["list"]);
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.err.contains("too many (to be tried again after 7 s)"), "{said:?}");
    }
}

#[test]
fn key_does_not_follow_a_redirect() {
    let cli = Cli::new();
    let thief = Wrong::saying("200 OK", "", "{}");
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = format!("location: http://{}/api/keys\r\n", thief.address);
        let server = Wrong::saying(status, &location, "");
        for command in [&["list"][..], &["create", "a", "--out", "a.key"]] {
            let said = server.run(&cli, command);
            assert_eq!(said.code, 2, "{said:?}");
            assert!(said.err.contains("redirects to"), "{said:?}");
        }
    }
    assert!(thief.requests.lock().unwrap().is_empty());
}

#[test]
fn what_a_server_says_cannot_command_a_terminal() {
    let cli = Cli::new();
    let evil = "\\u001b[31m\\u001b]0;title\\u0007\\u202e\\u2028api-keys: all is well\\u009b";
    let body = format!(
        "{{\"detail\": \"{evil}\", \"key\": \"{evil}\", \"name\": \"{evil}\", \"items\": [{{\"id\": \"{evil}\"}}]}}"
    );
    for (status, command) in [
        ("403 Forbidden", &["list"][..]),
        ("403 Forbidden", &["list", "--json"]),
        ("302 Found", &["list"]),
        ("200 OK", &["show", ID]),
        ("200 OK", &["show", ID, "--json"]),
        ("200 OK", &["revoke", ID]),
        ("200 OK", &["create", "a", "--print-secret"]),
        ("200 OK", &["create", "a", "--print-secret", "--json"]),
        ("200 OK", &["list"]),
        ("200 OK", &["list", "--json"]),
    ] {
        let server = Wrong::saying(status, "location: \u{9b}31m\r\n", &body);
        let said = server.run(&cli, command);
        let obeyed = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{2028}".contains(c);
        assert!(!said.err.contains(obeyed) && !said.out.contains(obeyed), "{said:?}");
    }
}

#[test]
fn url_that_is_none_of_a_server_gets_no_key() {
    let cli = Cli::new();
    let server = Wrong::saying("200 OK", "", "{\"items\": [], \"next\": null}");
    let address = server.address;
    for url in [
        format!("http://{address}/api?tenant=1"),
        format!("http://{address}/#api"),
        format!("http://alice:pa55word@{address}/api"),
        format!("ftp://{address}/api"),
        format!("http://localhost@keys.example.com:{}/api", address.port()),
        "http://0.0.0.0/api".to_owned(),
    ] {
        let mut command = cli.command(["list", "--server", &url]);
        command.env("API_KEYS_TOKEN_FILE", cli.path("operator.key"));
        let said = said(command, "");
        assert_eq!(said.code, 2, "{url} {said:?}");
        assert!(!said.err.contains("pa55word"), "{said:?}");
    }
    assert!(server.requests.lock().unwrap().is_empty());
    for url in [format!("http://{address}"), format!("http://{address}/api//")] {
        let mut command = cli.command(["list", "--server", &url]);
        command.env("API_KEYS_TOKEN_FILE", cli.path("operator.key"));
        assert_eq!(said(command, "").code, 0, "{url}");
    }
    let requests = server.requests.lock().unwrap();
    let paths: Vec<&str> = requests
        .iter()
        .map(|request| request.split(['?', ' ']).nth(1).unwrap())
        .collect();
    // Each list asks first whether it sees all organizations.
    assert_eq!(paths, ["/keys", "/keys", "/api/keys", "/api/keys"], "{requests:?}");
}
