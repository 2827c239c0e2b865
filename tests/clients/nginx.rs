//! nginx in front of a server, set up as the documentation says.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::server::Server;

/// A running nginx. It is killed at the end of the test.
pub(crate) struct Nginx {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    pub(crate) async fn start(server: &Server) -> Self {
        // A free port may be taken before nginx binds it.
        for _ in 0..5 {
            if let Some(nginx) = Self::try_start(server).await {
                return nginx;
            }
        }
        panic!("nginx did not start five times");
    }

    async fn try_start(server: &Server) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (http, grpc) = (free_address().await, free_address().await);
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(folder.path(), http, grpc, server)).unwrap();
        let mut process = Command::new(program())
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nginx is missing; run `scripts/install-missing nginx`");
        for _ in 0..500 {
            if process.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(http).await.is_ok() && TcpStream::connect(grpc).await.is_ok() {
                return Some(Self {
                    http,
                    grpc,
                    _process: process,
                    _folder: folder,
                });
            }
            sleep(Duration::from_millis(10)).await;
        }
        None
    }
}

/// A folder that Debian leaves out of the path of users comes first.
fn program() -> &'static str {
    let debian = "/usr/sbin/nginx";
    if Path::new(debian).exists() { debian } else { "nginx" }
}

async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn configuration(folder: &Path, http: SocketAddr, grpc: SocketAddr, server: &Server) -> String {
    let folder = folder.display();
    let (http_server, grpc_server) = (server.http, server.grpc);
    format!(
        r#"
# One process, so that ending it ends all.
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
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
}}
"#
    )
}
