//! The options in a URL or in a connection string of libpq, each with its text.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What connects to a database, by libpq's names.
#[derive(Default)]
pub(super) struct Options {
    /// Any bytes, unlike the others.
    pub(super) password: Option<Vec<u8>>,
    texts: Vec<(&'static str, String)>,
}

/// Why a URL or a connection string is not taken. Shows no text of it but names of options.
#[derive(Debug, thiserror::Error)]
pub(super) enum UrlError {
    #[error(
        "the database's URL must begin with `postgres://`, or be a connection string such as `host=db user=keys dbname=app`"
    )]
    NoUrl,
    #[error(
        "the database's URL must have one `@`, before the host; elsewhere write %40, and in a user or a password %2F for `/` and %3F \
         for `?`"
    )]
    At,
    #[error("what is percent-encoded in the database's URL must be UTF-8")]
    NotText,
    #[error("an option of the database's URL has no value; write name=value")]
    NoValue,
    #[error("a quote in the connection string of the database is not closed")]
    OpenQuote,
    #[error("option {0} of the database's URL is not known; known are {known}", known = KNOWN.join(", "))]
    UnknownOption(String),
    #[error(
        "an option after `password` is not known; in a URL, write what the password has percent-encoded (%26 for `&`), in a \
         connection string in quotes (password='two words')"
    )]
    UnknownAfterPassword,
    #[error(
        "option `schema` of the database's URL is for other programs, and names the schema of their tables; remove it, and set that \
         of the keys with `PostgresStoreBuilder::schema`"
    )]
    Schema,
    #[error("option `{0}` is twice in the database's URL")]
    Twice(&'static str),
    #[error("option `{name}` of the database's URL must be {must}")]
    Invalid { name: &'static str, must: &'static str },
    #[error("the database's URL names no host")]
    NoHost,
    #[error("the database's URL must name between 1 and {MOST_HOSTS} hosts, got {0}")]
    TooManyHosts(usize),
    #[error("`{name}` of the database's URL must have one value, or one for each of the {hosts} hosts")]
    Uneven { name: &'static str, hosts: usize },
    #[error("options `sslcert` and `sslkey` of the database's URL need each other")]
    HalfIdentity,
}

pub(super) const MOST_HOSTS: usize = 16;

const KNOWN: [&str; 21] = [
    "user",
    "password",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
    "target_session_attrs",
    "load_balance_hosts",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "application_name",
    "options",
];

impl Options {
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        match text.split_once(':') {
            Some((scheme, rest)) if ["postgres", "postgresql"].contains(&&*scheme.to_ascii_lowercase()) => {
                Self::of_url(rest.strip_prefix("//").ok_or(UrlError::NoUrl)?)
            }
            _ => Self::of_pairs(text),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.texts.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| &**text)
    }

    /// What follows `postgres://`.
    fn of_url(rest: &str) -> Result<Self, UrlError> {
        let mut options = Self::default();
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // What a password has behind an `@`, `/` or `?` of its own would be the name of a host, a database or an option, and be
        // sent to a name server or shown.
        if rest.contains('@') || authority.matches('@').count() > 1 {
            return Err(UrlError::At);
        }
        let (credentials, hosts) = authority.split_once('@').unwrap_or(("", authority));
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (credentials, None),
        };
        options.password = password.map(|password| percent_decode_str(password).collect());
        let (path, pairs) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, ports) = hosts_and_ports(hosts)?;
        for (name, text) in [
            ("user", decoded(user)?),
            ("host", decoded(&hosts)?),
            ("port", decoded(&ports)?),
            ("dbname", decoded(path.strip_prefix('/').unwrap_or(path))?),
        ] {
            if !text.is_empty() {
                options.texts.push((name, text.into_owned()));
            }
        }
        let mut given = Vec::new();
        for pair in pairs.split('&').filter(|pair| !pair.is_empty()) {
            let (name, text) = pair.split_once('=').ok_or(UrlError::NoValue)?;
            let name = known(&decoded(name)?, &mut given)?;
            match name {
                "password" => options.password = Some(percent_decode_str(text).collect()),
                _ => options.set(name, decoded(text)?.into_owned()),
            }
        }
        Ok(options)
    }

    /// `name=value name='another value'`.
    fn of_pairs(text: &str) -> Result<Self, UrlError> {
        let (mut options, mut given, mut rest) = (Self::default(), Vec::new(), text.trim_start());
        if !rest.contains('=') {
            return Err(UrlError::NoUrl);
        }
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=').ok_or(UrlError::NoValue)?;
            let name = name.trim_end();
            if name.contains(char::is_whitespace) && !given.contains(&"password") {
                return Err(UrlError::NoValue);
            }
            let name = known(name, &mut given)?;
            let (text, after) = value(after.trim_start())?;
            match name {
                "password" => options.password = Some(text.into_bytes()),
                _ => options.set(name, text),
            }
            rest = after.trim_start();
        }
        Ok(options)
    }

    /// What is named in front of the options yields to these, as in libpq.
    fn set(&mut self, name: &'static str, text: String) {
        self.texts.retain(|(known, _)| *known != name);
        self.texts.push((name, text));
    }
}

/// The hosts, and their ports, each list with commas.
fn hosts_and_ports(hosts: &str) -> Result<(String, String), UrlError> {
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(address) => {
                let (address, port) = address.split_once(']').ok_or(NO_ADDRESS)?;
                match port.strip_prefix(':') {
                    None if !port.is_empty() => return Err(NO_ADDRESS),
                    port => (address, port),
                }
            }
            None => match host.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (host, None),
            },
        };
        names.push(name);
        ports.push(port.unwrap_or_default());
    }
    let has_ports = ports.iter().any(|port| !port.is_empty());
    Ok((names.join(","), if has_ports { ports.join(",") } else { String::new() }))
}

const NO_ADDRESS: UrlError = UrlError::Invalid {
    name: "host",
    must: "an IPv6 address if it is in brackets",
};

fn decoded(text: &str) -> Result<Cow<'_, str>, UrlError> {
    percent_decode_str(text).decode_utf8().map_err(|_| UrlError::NotText)
}

fn known(name: &str, given: &mut Vec<&'static str>) -> Result<&'static str, UrlError> {
    let name = match name {
        "schema" => return Err(UrlError::Schema),
        // As tokio-postgres calls it.
        "keepalives_retries" => "keepalives_count",
        name => name,
    };
    let Some(known) = KNOWN.iter().find(|known| **known == name) else {
        // It may be what stands behind a space or an `&` of the password.
        return Err(match given.contains(&"password") {
            true => UrlError::UnknownAfterPassword,
            false => UrlError::UnknownOption(shown(name)),
        });
    };
    if given.contains(known) {
        return Err(UrlError::Twice(known));
    }
    given.push(known);
    Ok(known)
}

/// A name in an error: what is not a name, or is longer than names are, may be a key.
fn shown(name: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match (1..=32).contains(&name.len()) && name.chars().all(is_name) {
        true => format!("`{name}`"),
        false => "(not shown)".to_owned(),
    }
}

/// The value that a text begins with, and what follows it.
fn value(text: &str) -> Result<(String, &str), UrlError> {
    let (text, is_quoted) = match text.strip_prefix('\'') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((index, char)) = chars.next() {
        match char {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if is_quoted => return Ok((value, chars.as_str())),
            char if !is_quoted && char.is_whitespace() => return Ok((value, text.split_at(index).1)),
            char => value.push(char),
        }
    }
    match is_quoted {
        true => Err(UrlError::OpenQuote),
        false if value.is_empty() => Err(UrlError::NoValue),
        false => Ok((value, "")),
    }
}
