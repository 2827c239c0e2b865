//! Sends raw bytes to a server, without a client library that would correct them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The response of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The values of a header, in order.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Everything except the date.
    pub(crate) fn undated(&self) -> (Vec<&str>, &[u8]) {
        let lines = self.head.lines().filter(|line| !line.starts_with("date:"));
        (lines.collect(), &self.body)
    }
}

/// Sends a request with these header lines on a new connection.
pub(crate) async fn request(server: SocketAddr, method: &str, path: &str, headers: &[(&str, &[u8])]) -> Answer {
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 0\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    raw(server, &bytes).await.expect("the server closed without an answer")
}

/// Sends exactly these bytes. `None` if the server closes the connection without an answer.
pub(crate) async fn raw(server: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    // A server may answer and close before it has read everything. Its answer counts.
    let _ = stream.write_all(bytes).await;
    read_to_end(stream).await
}

/// Sends exactly these bytes and closes the sending side, so that a server does not wait for more.
#[cfg(feature = "testing")]
pub(crate) async fn raw_and_done(server: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    read_to_end(stream).await
}

async fn read_to_end(mut stream: TcpStream) -> Option<Answer> {
    let mut received = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            received.extend_from_slice(&buffer[..count]);
        }
    };
    timeout(Duration::from_secs(20), read)
        .await
        .expect("the answer did not end within 20 s");
    parse(&received)
}

/// Parses an answer.
pub(crate) fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        head,
        body: bytes[end + 4..].to_vec(),
    })
}
