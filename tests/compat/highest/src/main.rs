//! Keys in SQLite through the newest rusqlite, which reads the file too.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = program::run(env!("CARGO_PKG_NAME")).await?;
    let connection = rusqlite::Connection::open(&path)?;
    let keys: i64 = connection.query_row("SELECT count(*) FROM api_keys_keys", [], |row| row.get(0))?;
    assert_eq!(keys, 1);
    drop(connection);
    program::clean(&path)
}
