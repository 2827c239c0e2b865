//! The example file and the page have every key, and each of them is accepted.

use std::collections::BTreeSet;

use tower_api_key::ApiKeys;
use tower_api_key::config::{Config, LogFormat};
use tower_api_key::key::KeyId;
use tower_api_key::store::MemoryStore;

use super::{config, issue, refused};

const EXAMPLE: &str = include_str!("../../../docs/api-keys.toml");
const PAGE: &str = include_str!("../../../docs/configuration.md");

/// A key of the example that is commented out.
struct Line {
    /// As in `[[formats]]`.
    section: String,
    key: String,
    /// As in `prefix = "key"`.
    text: String,
    /// Whether it has its default.
    is_default: bool,
}

fn lines() -> Vec<Line> {
    let mut section = String::new();
    let mut lines = Vec::new();
    for line in EXAMPLE.lines().filter_map(|line| line.strip_prefix('#')) {
        if line.starts_with('[') {
            section = line.to_owned();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            lines.push(Line {
                section: section.clone(),
                key: key.to_owned(),
                text: line.to_owned(),
                is_default: !line.ends_with("# example"),
            });
        }
    }
    assert!(lines.len() > 60, "{}", lines.len());
    lines
}

/// Those that the error about another one lists.
fn listed(text: &str) -> BTreeSet<String> {
    let error = refused(text);
    let (_, names) = error.rsplit_once(" are ").unwrap();
    names.split(", ").map(ToOwned::to_owned).collect()
}

/// The headings of all sections, as they are written.
fn sections() -> Vec<String> {
    let plain = listed("not_a_section = 1\n");
    let mut sections: Vec<String> = plain
        .into_iter()
        .map(|name| match Config::parse(&format!("[{name}]\n")) {
            Err(error) if error.to_string().contains("list of sections") => format!("[[{name}]]"),
            _ => format!("[{name}]"),
        })
        .collect();
    sections.push("[hash.pool]".to_owned());
    sections
}

fn known_keys(section: &str) -> BTreeSet<String> {
    let mut keys = listed(&format!("{section}\nnot_a_key = 1\n"));
    // A section of its own.
    keys.remove("pool");
    keys
}

#[test]
fn example_and_page_have_each_key() {
    let mut seen = 0;
    for section in sections() {
        let known = known_keys(&section);
        let of_example = lines().into_iter().filter(|line| line.section == section);
        let of_example: BTreeSet<String> = of_example.map(|line| line.key).collect();
        assert_eq!(of_example, known, "docs/api-keys.toml, {section}");
        let (_, rest) = PAGE.split_once(&format!("### `{section}`\n")).unwrap();
        let rows = rest.split("\n### ").next().unwrap().lines();
        let of_page = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next());
        let of_page: BTreeSet<String> = of_page.map(ToOwned::to_owned).collect();
        assert_eq!(of_page, known, "docs/configuration.md, {section}");
        seen += known.len();
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn example_as_it_is_sets_nothing() {
    let config = Config::read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api-keys.toml")).unwrap();
    assert!(config.database_url().is_none());
    assert_eq!(config.server(), super::config("").server());
    let server = config.server();
    assert_eq!(
        (server.listen.to_string(), server.concurrency),
        ("127.0.0.1:8080".to_owned(), 512)
    );
    assert_eq!((server.request_timeout.as_secs(), server.body_limit), (10, 65_536));
    assert_eq!(
        (config.log().format, config.log().level),
        (LogFormat::Text, tracing::Level::INFO)
    );
}

/// What some keys need beside them.
fn companion(line: &Line) -> &'static str {
    match (&*line.section, &*line.key) {
        ("[secrets]", "former_root_key_file") => "root_key_file = \"root.key\"\n",
        ("[[formats]]", key) if !["prefix", "preset"].contains(&key) => "prefix = \"key\"\n",
        ("[hash]", "cost") => "scheme = \"bcrypt-sha256\"\n",
        ("[[sources]]", "leave_others" | "together") => "authorization = \"Bearer\"\n",
        ("[[sources]]", "challenge") => "basic = \"password\"\n",
        ("[proxies]", "header" | "scheme_header") => "networks = [\"10.0.0.0/8\"]\n",
        ("[proxies]", "networks") => "header = \"x-forwarded-for\"\n",
        _ => "",
    }
}

#[test]
fn each_line_of_the_example_is_accepted_alone() {
    for line in lines() {
        if line.key == "cost" && cfg!(not(feature = "legacy-hashes")) {
            continue;
        }
        let text = format!("{}\n{}{}\n", line.section, companion(&line), line.text);
        if let Err(error) = Config::parse(&text) {
            panic!("{error}\n{text}");
        }
    }
}

/// A value of another type than the one in the example is refused: each is read.
#[test]
fn each_line_of_the_example_is_read() {
    for line in lines() {
        let value = line.text.split_once(" = ").unwrap().1;
        let other = if value.starts_with(['"', '[']) { "true" } else { "[1]" };
        let text = format!("{}\n{}{} = {other}\n", line.section, companion(&line), line.key);
        let name = line.section.trim_matches(['[', ']']);
        let said = refused(&text);
        assert!(said.contains(&format!("`{name}.{}` must be", line.key)), "{said}");
    }
}

/// The defaults that it states are those of a handle without a file.
#[tokio::test]
async fn defaults_of_the_example_change_nothing() {
    let mut text = String::new();
    let mut section = String::new();
    for line in lines() {
        let names_format = line.section == "[[formats]]" || line.section == "[[sources]]";
        if !line.is_default || line.section == "[database]" || names_format {
            continue;
        }
        if line.section != section {
            section = line.section.clone();
            text += &format!("{section}\n");
        }
        text += &format!("{}\n", line.text);
    }
    text += "[[formats]]\n";
    for line in lines()
        .iter()
        .filter(|line| line.section == "[[formats]]" && line.is_default)
    {
        text += &format!("{}\n", line.text);
    }
    text += "[[sources]]\nauthorization = \"Bearer\"\n[[sources]]\nheader = \"x-api-key\"\n";
    let config = config(&text);
    let with = config.builder(MemoryStore::new()).unwrap().open().await.unwrap();
    let with = config.apply_to(with).unwrap();
    let without = ApiKeys::builder(MemoryStore::new()).open().await.unwrap();
    assert_eq!(format!("{:?}", with.layer()), format!("{:?}", without.layer()));
    assert_eq!(
        format!("{:?}", with.maintenance()),
        format!("{:?}", without.maintenance())
    );
    let (one, other) = (
        issue(&with, |request| request).await,
        issue(&without, |request| request).await,
    );
    assert_eq!(one.key.expose_secret().len(), other.key.expose_secret().len());
    assert_eq!(
        (one.record.prefix, one.record.environment),
        (other.record.prefix, other.record.environment)
    );
    // Scheme and parameters, without salt and hash.
    let hash = async |keys: &ApiKeys<MemoryStore>, id: KeyId| {
        let stored = keys.read(id).await.unwrap().unwrap();
        let parts: Vec<&str> = stored.secrets[0].hash.as_str().split('$').collect();
        parts[..4].join("$")
    };
    let hashes = (hash(&with, one.record.id).await, hash(&without, other.record.id).await);
    assert_eq!(hashes.0, hashes.1);
    assert_eq!(hashes.0, "$argon2id$v=19$m=65536,t=1,p=4");
}
