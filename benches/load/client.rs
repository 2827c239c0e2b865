//! Clients that are as light as they can be: they share two cores with the server.

use std::io::{Read, Write};
use std::net::TcpStream;

/// Connections that are kept, each with its own key and at most one request under way.
pub struct Clients(Vec<Connection>);

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Clients {
    pub fn connect(port: u16, keys: &[&str]) -> Self {
        let connect = |key: &&str| {
            let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
            stream.set_nodelay(true).expect("an option");
            let request = format!(
                "GET /orders HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: curl/8.14.1\r\naccept: */*\r\n\
                 authorization: Bearer {key}\r\n\r\n"
            );
            Connection {
                stream,
                request: request.into_bytes(),
            }
        };
        Self(keys.iter().map(connect).collect())
    }

    /// Sends a request on every connection and then reads every answer, so many times. Nobody waits for the slowest
    /// connection as clients of their own would not, but what the server does for a request is the same.
    pub fn burst(&mut self, rounds: usize) -> usize {
        for _ in 0..rounds {
            for connection in &mut self.0 {
                connection.stream.write_all(&connection.request).expect("it is sent");
            }
            for connection in &mut self.0 {
                connection.read_answer();
            }
        }
        rounds * self.0.len()
    }
}

impl Connection {
    fn read_answer(&mut self) {
        let mut buffer = [0; 1024];
        let mut length = 0;
        while !is_whole(&buffer[..length]) {
            let read = self.stream.read(&mut buffer[length..]).expect("an answer");
            assert!(read > 0, "the server hung up");
            length += read;
        }
        assert!(
            buffer.starts_with(b"HTTP/1.1 200 "),
            "{}",
            String::from_utf8_lossy(&buffer)
        );
    }
}

fn is_whole(answer: &[u8]) -> bool {
    answer.ends_with(super::BODY.as_bytes())
}
