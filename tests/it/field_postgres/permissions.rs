//! What a user of the database may see and do.

use super::{Shop, as_user, builder, new_database};
use crate::support::postgres::{psql, schema_name, shared};

/// A user with the role of the service, who owns nothing.
fn service_user(schema: &str) -> String {
    let user = schema_name();
    psql(
        &shared(),
        &format!("CREATE ROLE {user} LOGIN; GRANT {schema}_service TO {user}"),
    );
    user
}

/// Row-level security shows no rows to whom it gives none, and says nothing. A good key would be unknown, and a revoke not in the log.
#[tokio::test]
async fn hidden_rows_are_errors_and_no_answers() {
    let schema = schema_name();
    let owner = Shop::of_schema(&shared(), &schema).await;
    let url = as_user(&shared(), &service_user(&schema));
    let tables = psql(
        &shared(),
        &format!("SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1"),
    );
    for table in tables.lines() {
        let service = Shop::over(builder().schema(&schema).without_migrations().open(&url).await.unwrap()).await;
        let (cached, cold) = (owner.issue().await, owner.issue().await);
        service.until(&cached, 200, &[503]).await;
        psql(
            &shared(),
            &format!("ALTER TABLE {schema}.{table} ENABLE ROW LEVEL SECURITY"),
        );
        let status = service.asks(&cold).await;
        assert!([200, 503].contains(&status), "{status} for a good key: {table}");
        owner.revoke(&cached).await;
        let begun = std::time::Instant::now();
        while service.asks(&cached).await == 200 {
            assert!(begun.elapsed() < super::LONG, "still admitted: {table}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        psql(
            &shared(),
            &format!("ALTER TABLE {schema}.{table} DISABLE ROW LEVEL SECURITY"),
        );
        service.until(&cached, 401, &[503]).await;
        service.until(&cold, 200, &[503]).await;
    }
}

/// To replicate a whole database, each row has to be known by its key. Else updates of it fail from then on.
#[tokio::test]
async fn database_that_is_published_takes_changes() {
    let url = new_database(&shared(), &schema_name(), "");
    let shop = Shop::open(&url).await;
    let key = shop.issue().await;
    psql(&url, "CREATE PUBLICATION everything FOR ALL TABLES");
    let without = "SELECT count(*) FROM pg_class c WHERE relnamespace = 'api_keys'::regnamespace AND relkind = 'r' \
         AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";
    assert_eq!(psql(&url, without), "0");
    shop.works().await;
    shop.revoke(&key).await;
    assert_eq!(shop.asks(&key).await, 401);
    // What is counted, too.
    shop.keys.flush().await.unwrap();
}

/// Roles are of the whole server: of several databases that are made at once, one after the other finds them there, or is about to.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn databases_made_at_once_all_grant_the_roles() {
    let (schema, names) = (schema_name(), [(); 6].map(|()| schema_name()));
    let urls: Vec<String> = names.iter().map(|name| new_database(&shared(), name, "")).collect();
    let opening = urls.iter().map(|url| {
        let (url, builder) = (url.clone(), builder().schema(&schema));
        tokio::spawn(async move { builder.open(&url).await })
    });
    for opened in opening.collect::<Vec<_>>() {
        opened.await.unwrap().unwrap();
    }
    let user = service_user(&schema);
    for url in &urls {
        let service = builder().schema(&schema).without_migrations();
        let store = service.open(&as_user(url, &user)).await.unwrap();
        Shop::over(store).await.works().await;
        let owners =
            format!("SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname = '{schema}'");
        assert_eq!(psql(url, &owners), format!("{schema}_owner"));
        let readable = format!("SELECT has_column_privilege('{schema}_reader', '{schema}.keys', 'name', 'SELECT')");
        assert_eq!(psql(url, &readable), "t");
    }
}
