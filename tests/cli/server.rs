//! The program as a server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::Cli;

/// A server that ends with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    /// Reads the log, so that it never waits for a reader.
    reader: Option<JoinHandle<()>>,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
    pub(crate) after: Duration,
}

impl Server {
    pub(crate) fn start(cli: &Cli) -> Self {
        Self::with(cli, &[], &[])
    }

    /// With more arguments and variables.
    pub(crate) fn with(cli: &Cli, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = cli.command(["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments).envs(variables.iter().copied());
        Self::of(command)
    }

    /// Waits until it serves.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("the server ended: {}", log.lock().unwrap()));
            let line = line.unwrap();
            *log.lock().unwrap() += &format!("{line}\n");
            if let Some((_, rest)) = line.split_once("127.0.0.1:").filter(|_| line.contains("serving")) {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
            }
        };
        let written = log.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *written.lock().unwrap() += &format!("{line}\n");
            }
        });
        Self {
            child,
            address,
            log,
            reader: Some(reader),
        }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// That of the management API.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/api/v1/auth", self.address)
    }

    /// The status of a request with a key.
    pub(crate) fn ask(&self, path: &str, key: &str) -> u16 {
        self.get(path, key).status
    }

    pub(crate) fn get(&self, path: &str, key: &str) -> Answer {
        self.request("GET", path, &[("authorization", &format!("Bearer {key}"))], "")
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let stream = self.begin(method, path, headers, body.len());
        (&stream).write_all(body.as_bytes()).unwrap();
        read(stream)
    }

    /// A request whose body of this length is still to come.
    pub(crate) fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if length > 0 {
            head += &format!("content-length: {length}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream
    }

    /// Asks it to end, as service managers do.
    pub(crate) fn signal(&self) {
        let signal = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(signal.unwrap().success());
    }

    /// The same, and waits until it has.
    pub(crate) fn stop(mut self) -> Ended {
        let start = Instant::now();
        self.signal();
        let code = self.child.wait().unwrap().code();
        let after = start.elapsed();
        self.reader.take().unwrap().join().unwrap();
        Ended {
            code,
            log: self.log(),
            after,
        }
    }
}

/// The answer that comes.
pub(crate) fn read(mut stream: TcpStream) -> Answer {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {answer:?}"));
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// Asks until the answer is yes.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
