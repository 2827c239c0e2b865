//! Keys in SQLite in a program that reads the same file with sqlx 0.8.

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = program::run(env!("CARGO_PKG_NAME")).await?;
    let options = SqliteConnectOptions::new().filename(&path);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let query = sqlx::query_scalar("SELECT count(*) FROM api_keys_keys");
    let keys: i64 = query.fetch_one(&mut connection).await?;
    assert_eq!(keys, 1);
    connection.close().await?;
    program::clean(&path)
}
