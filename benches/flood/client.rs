//! One connection of a client.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The address of clients with good keys.
pub const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;

pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request with this key.
pub fn request(key: &str) -> Vec<u8> {
    format!("GET /orders HTTP/1.1\r\nhost: api.example.com\r\naccept: */*\r\nauthorization: Bearer {key}\r\n\r\n")
        .into_bytes()
}

/// A request with this key, from a client that says it comes from this address.
pub fn request_from(key: &str, from: IpAddr) -> Vec<u8> {
    let mut request = request(key);
    request.truncate(request.len() - 2);
    request.extend(format!("x-from: {from}\r\n\r\n").bytes());
    request
}

impl Client {
    /// A connection from this loopback address.
    pub async fn connect(from: Ipv4Addr, port: u16) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(1024),
        })
    }

    pub async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await
    }

    /// Sends a request, and returns the status of the answer.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        Ok(self.ask_when(request).await?.0)
    }

    /// Sends a request, and returns the status of the answer and how long to wait before the next.
    pub async fn ask_when(&mut self, request: &[u8]) -> io::Result<(u16, Duration)> {
        self.send(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(status) = whole_answer(&self.buffer) {
                return Ok((status, retry_after(&self.buffer)));
            }
        }
    }
}

fn retry_after(answer: &[u8]) -> Duration {
    let text = String::from_utf8_lossy(answer);
    let seconds = text.lines().find_map(|line| line.strip_prefix("retry-after: "));
    Duration::from_secs(seconds.map_or(0, |seconds| seconds.trim().parse().expect("seconds")))
}

/// The status, once the whole answer has been read.
fn whole_answer(answer: &[u8]) -> Option<u16> {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&answer[..head]).ok()?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    let status = text.get(9..12)?.parse().ok()?;
    (answer.len() >= head + 4 + length).then_some(status)
}
