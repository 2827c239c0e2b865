//! What programs can ask of a file, beside opening what it names.

use std::path::Path;

use tower_api_key::config::{Config, JournalConfig};
use tower_api_key::store::SqliteStore;

use super::{Place, config};

#[test]
fn file_says_its_formats_proxies_and_files() {
    let empty = config("");
    assert!(empty.formats().is_none() && empty.proxies().is_none() && empty.anchor_file().is_none());
    assert_eq!(empty.journal(), JournalConfig::Usual);
    assert_eq!(config("[database]\njournal = false\n").journal(), JournalConfig::Off);

    let place = Place::new(
        "[database]\njournal = \"gone\"\n[audit]\nanchor_file = \"anchors\"\n[[formats]]\nprefix = \"acme\"\n[proxies]\nheader = \
         \"x-forwarded-for\"\nnetworks = [\"10.0.0.0/8\"]\n",
    );
    let read = Config::read(place.path()).unwrap();
    let prefixes: Vec<&str> = read.formats().unwrap().iter().map(|format| format.prefix()).collect();
    assert_eq!(prefixes, ["acme"]);
    let proxies = read.proxies().unwrap();
    assert_eq!(
        (proxies.header.as_deref(), proxies.scheme_header.as_deref()),
        (Some("x-forwarded-for"), None)
    );
    assert_eq!(proxies.networks.to_string(), "10.0.0.0/8");
    // Relative paths begin at the folder of the file.
    let beside = |name: &str| place.path().canonicalize().unwrap().parent().unwrap().join(name);
    let is_beside = |path: &Path, name: &str| path.parent().unwrap().canonicalize().unwrap().join(name) == beside(name);
    assert!(is_beside(read.anchor_file().unwrap(), "anchors"));
    let JournalConfig::File(journal) = read.journal() else {
        panic!("{:?}", read.journal());
    };
    assert!(is_beside(&journal, "gone"));
}

#[tokio::test]
async fn builders_of_stores_have_the_options_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let strict = config("[database]\ncreate_if_missing = false\n");
    assert!(strict.sqlite_builder().open(&path).await.is_err());
    let without = config("[database]\njournal = false\n");
    without.sqlite_builder().open(&path).await.unwrap();
    assert!(!folder.path().join("keys.db.revocations").exists());
    assert_eq!(
        without.sqlite_builder().schema_version(&path).await.unwrap(),
        SqliteStore::SCHEMA_VERSION
    );
}
