//! Keys without a database: a TOML file that people edit, or an environment variable.
//!
//! `cargo run --example file_keys --features file -- keys.toml` serves on 127.0.0.1:3000; without a path it takes the keys of
//! the variable `API_KEYS`. Without that too, it writes a file with one key (`file_keys.toml` in the folder for temporary files)
//! and prints the key.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tower_api_key::key::KeyFormat;
use tower_api_key::store::FileStore;
use tower_api_key::{ApiKeyLayer, AuthContext, hash};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = match (std::env::args_os().nth(1), std::env::var_os("API_KEYS")) {
        (Some(path), _) => FileStore::open(path).await?,
        (None, Some(_)) => FileStore::from_env("API_KEYS")?,
        (None, None) => FileStore::open(first_file()?).await?,
    };
    println!("keys: {}", store.status().keys);

    let layer =
        ApiKeyLayer::new(store).client_address(|request| Some(request.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    let hello = get(|auth: AuthContext| async move { format!("hello, {}\n", auth.organization().name) });
    let app = Router::new().route("/", hello).route_layer(layer);

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, service).await?)
}

/// Writes a file with one key, unless there is one.
fn first_file() -> Result<PathBuf, Box<dyn Error>> {
    use std::io::Write;

    let path = std::env::temp_dir().join("file_keys.toml");
    if path.exists() {
        return Ok(path);
    }
    let (key, _) = KeyFormat::new("acme")?.generate(Some("live"))?.into_parts();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    write!(
        options.open(&path)?,
        r#"[[keys]]
name = "my first key"
organization = "acme"
hash = "{}" # printf %s KEY | sha256sum
scopes = ["orders:read"]
networks = "any"

[end]
"#,
        hash::sha256(&key).as_str()
    )?;
    println!(
        "wrote {}; curl -i http://127.0.0.1:3000/ -H 'x-api-key: {}'",
        path.display(),
        key.expose_secret()
    );
    Ok(path)
}
