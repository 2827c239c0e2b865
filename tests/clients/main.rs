//! Official client libraries against a server on this crate's layer: their errors, their retries, their streams.
//!
//! A test starts a server, for half of the tests nginx in front of it, and runs a Python program of `python/`, which has the
//! assertions. `scripts/test` makes the virtual environments, installs nginx, and runs these tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod nginx;
mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nginx::Nginx;
use server::Server;
use tokio::process::Command;
use tokio::time::timeout;

/// Where a program's requests go.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Direct,
    Nginx,
}

/// Runs a program with the packages of these environments.
async fn run(program: &str, environments: &[&str], way: Way) {
    let folder =
        std::env::var_os("API_KEYS_CLIENTS").expect("API_KEYS_CLIENTS is not set; run `./scripts/test clients`");
    for environment in environments {
        let server = Server::start(way == Way::Nginx).await;
        let nginx = match way {
            Way::Direct => None,
            Way::Nginx => Some(Nginx::start(2, |at| proxies(at[0], at[1], &server)).await),
        };
        let (http, grpc) = match &nginx {
            Some(nginx) => (nginx.addresses[0], nginx.addresses[1]),
            None => (server.http, server.grpc),
        };
        let home = tempfile::tempdir().unwrap();
        let python = Path::new(&folder).join(environment).join("bin/python");
        let mut command = Command::new(&python);
        command
            .args(["-m", "unittest", "-v", program])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python"))
            // Proxies, credentials and settings of the developer's own must not reach the libraries.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HTTP_SERVER", format!("http://{http}"))
            .env("GRPC_SERVER", grpc.to_string())
            .env("CONTROL", format!("http://{}", server.control))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        // A library that does not know when to give up may sleep for a day.
        let output = timeout(Duration::from_secs(200), command.output())
            .await
            .unwrap_or_else(|_| panic!("{program}, {environment}: no end within 200 s"))
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", python.display()));
        let report = String::from_utf8_lossy(&output.stderr);
        let is_run = !report.contains("Ran 0 tests");
        assert!(
            output.status.success() && is_run,
            "{program}, {environment}:\n{report}{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

/// As the documentation says.
fn proxies(http: SocketAddr, grpc: SocketAddr, server: &Server) -> String {
    let (http_server, grpc_server) = (server.http, server.grpc);
    format!(
        r#"
    server {{
        listen {http};
        location / {{
            proxy_pass http://{http_server};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_buffering off;
        }}
    }}
    server {{
        listen {grpc} http2;
        location / {{
            grpc_pass grpc://{grpc_server};
            grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
"#
    )
}

macro_rules! programs {
    ($($name:ident: $program:literal with $environments:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs Python packages: run ./scripts/test clients"]
            async fn directly() {
                run($program, &$environments, Way::Direct).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs Python packages and nginx: run ./scripts/test clients"]
            async fn through_nginx() {
                run($program, &$environments, Way::Nginx).await;
            }
        }
    )*};
}

programs! {
    openai: "test_openai" with ["current", "older"];
    anthropic: "test_anthropic" with ["current", "older"];
    stripe: "test_stripe" with ["current", "older"];
    grpcio: "test_grpcio" with ["current"];
    httpx: "test_httpx" with ["current"];
}
