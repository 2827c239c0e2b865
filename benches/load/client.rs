//! The clients, on kept connections.

use std::io::{Read, Write};
use std::net::TcpStream;

use tokio::runtime::Runtime;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::sides::Protocol;

/// Connections with one request at a time. Each connection uses its own share of the keys.
pub enum Clients {
    Http(Vec<Connection>),
    Grpc(Runtime, Vec<Caller>),
}

/// As light as possible, because it shares two cores with the server.
pub struct Connection {
    stream: TcpStream,
    requests: Vec<Vec<u8>>,
}

#[derive(Clone)]
pub struct Caller {
    client: HealthClient<Channel>,
    keys: Vec<MetadataValue<tonic::metadata::Ascii>>,
}

impl Clients {
    pub fn connect(protocol: Protocol, port: u16, keys: &[&str], connections: usize) -> Self {
        let shares = keys.chunks(keys.len().div_ceil(connections));
        match protocol {
            Protocol::Http => Self::Http(shares.map(|keys| Connection::open(port, keys)).collect()),
            Protocol::Grpc => {
                let runtime = Runtime::new().expect("a runtime");
                let callers = shares
                    .map(|keys| runtime.block_on(Caller::connect(port, keys)))
                    .collect();
                Self::Grpc(runtime, callers)
            }
        }
    }

    /// Sends a request on every connection and reads every answer, `rounds` times. Unlike independent clients, all wait for the
    /// slowest connection, but the server's work per request is the same.
    pub fn burst(&mut self, rounds: usize) {
        match self {
            Self::Http(connections) => {
                for round in 0..rounds {
                    connections.iter_mut().for_each(|connection| connection.send(round));
                    connections.iter_mut().for_each(Connection::read_answer);
                }
            }
            Self::Grpc(runtime, callers) => {
                let calls = callers.iter().map(|caller| runtime.spawn(caller.clone().call(rounds)));
                let calls: Vec<_> = calls.collect();
                runtime.block_on(async {
                    for call in calls {
                        call.await.expect("every call is answered");
                    }
                });
            }
        }
    }
}

impl Connection {
    fn open(port: u16, keys: &[&str]) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let request = |key: &&str| {
            let text = format!(
                "GET /orders HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: curl/8.14.1\r\naccept: */*\r\n\
                 authorization: Bearer {key}\r\n\r\n"
            );
            text.into_bytes()
        };
        Self {
            stream,
            requests: keys.iter().map(request).collect(),
        }
    }

    fn send(&mut self, round: usize) {
        let request = &self.requests[round % self.requests.len()];
        self.stream.write_all(request).expect("it is sent");
    }

    fn read_answer(&mut self) {
        let mut buffer = [0; 1024];
        let mut length = 0;
        // No part of an answer's head ends like the body.
        while !buffer[..length].ends_with(super::BODY.as_bytes()) {
            let read = self.stream.read(&mut buffer[length..]).expect("an answer");
            assert!(read > 0, "the server closed the connection");
            length += read;
        }
        let answer = &buffer[..length];
        assert!(
            answer.starts_with(b"HTTP/1.1 200 "),
            "{}",
            String::from_utf8_lossy(answer)
        );
    }
}

impl Caller {
    async fn connect(port: u16, keys: &[&str]) -> Self {
        let endpoint = Channel::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
        let channel = endpoint.connect().await.expect("a connection");
        let value = |key: &&str| format!("Bearer {key}").parse().expect("a header value");
        Self {
            client: HealthClient::new(channel),
            keys: keys.iter().map(value).collect(),
        }
    }

    async fn call(mut self, rounds: usize) {
        for round in 0..rounds {
            let mut request = Request::new(HealthCheckRequest::default());
            let key = self.keys[round % self.keys.len()].clone();
            request.metadata_mut().insert("authorization", key);
            self.client.check(request).await.expect("a good key");
        }
    }
}
