//! Which database is opened, and its options.

use tower_api_key::config::{Config, ConfigFileErrorKind};
use tower_api_key::store::StoreErrorKind;
use tower_api_key::{ApiKeys, PresentedKey};

use super::{Place, config, issue};
use crate::support::chain;

fn place(options: &str) -> Place {
    Place::new(&format!(
        "[database]\nurl = \"sqlite:keys.db\"\n{options}[hash]\nscheme = \"sha256\"\n"
    ))
}

async fn refused(place: &Place) -> String {
    let error = ApiKeys::open_config(place.path()).await.unwrap_err();
    assert_eq!(error.kind(), ConfigFileErrorKind::Store, "{error}");
    assert!(
        error
            .to_string()
            .ends_with(": the database of `database.url` cannot be opened"),
        "{error}"
    );
    chain(&error)
}

#[tokio::test]
async fn keys_of_one_program_pass_in_another() {
    let place = place("");
    let one = ApiKeys::open_config(place.path()).await.unwrap();
    let other = Config::read(place.path()).unwrap().open().await.unwrap();
    let issued = issue(&one, |request| request).await;
    let key = PresentedKey::new(issued.key.expose_secret().as_bytes());
    assert_eq!(
        other.authenticator().check(key).await.unwrap().organization().name,
        "acme"
    );
}

#[tokio::test]
async fn journal_is_where_the_file_says() {
    for (option, files) in [
        ("", [true, false]),
        ("journal = \"elsewhere\"\n", [false, true]),
        ("journal = false\n", [false, false]),
    ] {
        let place = place(option);
        let keys = ApiKeys::open_config(place.path()).await.unwrap();
        let issued = issue(&keys, |request| request).await;
        let issuer = keys.issuer().acting_as(tower_api_key::key::Actor::service());
        issuer.revoke(issued.record.id, "test").await.unwrap();
        assert_eq!(
            [place.has("keys.db.revocations"), place.has("elsewhere")],
            files,
            "{option}"
        );
    }
}

#[tokio::test]
async fn missing_file_is_not_made_if_the_file_says_so() {
    let strict = place("create_if_missing = false\n");
    refused(&strict).await;
    assert!(!strict.has("keys.db"));
    ApiKeys::open_config(place("create_if_missing = true\n").path())
        .await
        .unwrap();
    let rw = Place::new("[database]\nurl = \"sqlite:keys.db?mode=rw\"\n");
    refused(&rw).await;
    assert!(!rw.has("keys.db"));
}

#[tokio::test]
async fn tables_of_others_are_refused_unless_the_file_allows_them() {
    let strict = place("");
    let make = |place: &Place| {
        let connection = rusqlite::Connection::open(place.file("keys.db")).unwrap();
        connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
    };
    make(&strict);
    refused(&strict).await;
    let beside = place("beside_other_tables = true\n");
    make(&beside);
    ApiKeys::open_config(beside.path()).await.unwrap();
}

/// They reach the store, which says its bounds.
#[tokio::test]
async fn times_out_of_the_bounds_of_sqlite_are_refused() {
    for (option, bound) in [("busy_timeout = \"2h\"\n", "hour"), ("max_staleness = \"1ms\"\n", "50")] {
        let said = refused(&place(option)).await;
        assert!(said.contains(bound), "{said}");
    }
}

#[tokio::test]
async fn options_of_other_databases_are_errors_beside_the_url_of_the_file() {
    for (url, option) in [
        ("sqlite:a.db", "migrations = false"),
        ("sqlite:a.db", "max_connections = 2"),
        ("sqlite:a.db", "statement_timeout = \"1s\""),
        ("sqlite:a.db", "connect_timeout = \"1s\""),
        ("postgres://h/a", "create_if_missing = true"),
        ("postgres://h/a", "beside_other_tables = true"),
        ("postgres://h/a", "busy_timeout = \"1s\""),
        ("memory:", "max_staleness = \"1s\""),
        ("file:keys.toml", "journal = false"),
        ("file:keys.toml", "schema = \"a\""),
    ] {
        let error = Config::parse(&format!("[database]\nurl = \"{url}\"\n{option}\n")).unwrap_err();
        assert_eq!(error.place().unwrap().0, 3, "{error}");
        assert!(
            error
                .to_string()
                .contains("has no effect on the database of `database.url`"),
            "{error}"
        );
    }
    // From elsewhere, the URL may be of another kind each time.
    let config = config("[database]\nschema = \"keys\"\nmax_connections = 2\n");
    config.open_url("memory:").await.unwrap();
}

#[tokio::test]
async fn url_from_elsewhere_is_not_that_of_the_file() {
    let place = place("journal = false\n");
    let config = Config::read(place.path()).unwrap();
    let url = format!("sqlite:{}", place.file("other.db").display());
    let keys = config.open_url(&url).await.unwrap();
    let _ = issue(&keys, |request| request).await;
    assert_eq!([place.has("keys.db"), place.has("other.db")], [false, true]);
    assert!(!place.has("other.db.revocations"), "with the options of the file");
    let store = config.open_store(&url).await.unwrap();
    assert_eq!(
        config
            .builder(store)
            .unwrap()
            .open()
            .await
            .unwrap()
            .statistics(None)
            .await
            .unwrap()
            .total,
        1
    );
    let error = config.open_url("mysql://u:hunter2@h/a").await.unwrap_err();
    assert_eq!(error.kind(), ConfigFileErrorKind::Store);
    assert!(chain(&error).contains("unknown scheme `mysql`") && !chain(&error).contains("hunter2"));
}

/// Runs this test again with this `DATABASE_URL`, and asserts that it passes there. `None` for none.
fn run_with(test: &str, url: Option<&str>) {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again
        .args(["--exact", test, "--nocapture"])
        .env(RUNS, url.unwrap_or("-"));
    match url {
        Some(url) => again.env("DATABASE_URL", url),
        None => again.env_remove("DATABASE_URL"),
    };
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

const RUNS: &str = "TOWER_API_KEY_TEST_DATABASE_URL";

#[tokio::test]
async fn variable_is_used_if_the_file_has_no_url() {
    let Ok(url) = std::env::var(RUNS) else {
        for url in [None, Some(""), Some("memory:"), Some("mysql://u:hunter2@h/a")] {
            run_with("config::databases::variable_is_used_if_the_file_has_no_url", url);
        }
        return;
    };
    let opened = config("[layer]\nchallenge_realm = \"acme\"\n").open().await;
    match &*url {
        "memory:" => assert!(format!("{:?}", opened.unwrap().layer()).contains("acme")),
        "-" => {
            let error = opened.unwrap_err();
            assert_eq!(error.kind(), ConfigFileErrorKind::NoDatabase);
            let said =
                "no database is named: set `url` in section `database`, or the environment variable `DATABASE_URL`";
            assert_eq!(error.to_string(), said);
        }
        "" => {
            let error = opened.unwrap_err();
            assert_eq!(error.kind(), ConfigFileErrorKind::InvalidValue);
            assert_eq!(
                error.to_string(),
                "`DATABASE_URL` is set and empty: give it a URL, or unset it"
            );
        }
        _ => {
            let error = opened.unwrap_err();
            assert_eq!(error.to_string(), "the database of `DATABASE_URL` cannot be opened");
            assert!(!chain(&error).contains("hunter2"));
        }
    }
    // The file comes first.
    config("[database]\nurl = \"memory:\"\n").open().await.unwrap();
}

/// Keys of a file of keys have the formats of the configuration.
#[tokio::test]
async fn file_of_keys_only_checks() {
    let place =
        Place::new("[database]\nurl = \"file:keys.toml\"\n[[formats]]\nprefix = \"acme\"\nchecksum = \"none\"\n");
    let key = format!("acme_live_{}", "abcdefghijk".repeat(4));
    let hash: String = {
        use sha2::Digest as _;
        sha2::Sha256::digest(&key)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    let text = format!(
        "[[keys]]\nname = \"a\"\norganization = \"acme\"\nprefix = \"acme\"\nlookup = \"{}\"\nhash = \"sha256:{hash}\"\nscopes = \
         []\nnetworks = \"any\"\n[end]\n",
        &key[10..22]
    );
    let path = place.file("keys.toml");
    std::fs::write(&path, text).unwrap();
    #[cfg(unix)]
    crate::support::files::set_mode(&path, 0o600);
    let keys = ApiKeys::open_config(place.path()).await.unwrap();
    keys.authenticator()
        .check(PresentedKey::new(key.as_bytes()))
        .await
        .unwrap();
    let error = keys.statistics(None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unsupported);
}
