//! nginx in front of servers.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// A running nginx. It is killed at the end of the test.
pub(crate) struct Nginx {
    /// Of each of its servers.
    pub(crate) addresses: Vec<SocketAddr>,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// With so many servers, whose blocks are written for these addresses.
    pub(crate) async fn start(number: usize, servers: impl Fn(&[SocketAddr]) -> String) -> Self {
        // A free port may be taken before nginx binds it.
        for _ in 0..5 {
            if let Some(nginx) = Self::try_start(number, &servers).await {
                return nginx;
            }
        }
        panic!("nginx did not start five times");
    }

    async fn try_start(number: usize, servers: impl Fn(&[SocketAddr]) -> String) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut addresses = Vec::new();
        for _ in 0..number {
            addresses.push(free_address().await);
        }
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(folder.path(), &servers(&addresses))).unwrap();
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
            let mut listening = 0;
            for address in &addresses {
                listening += usize::from(TcpStream::connect(address).await.is_ok());
            }
            if listening == number {
                return Some(Self {
                    addresses,
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

fn configuration(folder: &Path, servers: &str) -> String {
    let folder = folder.display();
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
{servers}
}}
"#
    )
}
