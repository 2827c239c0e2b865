//! From a URL or a connection string of libpq to the servers, and to which of them goes nothing without TLS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslMode};

use super::options::{MOST_HOSTS, Options, UrlError};
use super::tls::Files;

/// A connection whose other end is gone is noticed.
const KEEPALIVES_IDLE: Duration = Duration::from_secs(10);

/// What a URL or a connection string names.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) servers: Vec<Server>,
    /// What TLS needs, if any server is connected to by it.
    pub(super) files: Option<Files>,
    /// Another machine that is connected to without TLS, since `sslmode=disable` is written in the URL.
    pub(super) exposed: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    /// Whether to pass over standbys: one shows revoked keys for as long as it lags.
    pub(super) is_of_primary: bool,
    /// Whether to begin with any of the servers.
    pub(super) is_random: bool,
}

/// One server, or the addresses of one name.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) config: Config,
    /// As the URL names it, for messages.
    pub(super) name: String,
    pub(super) is_by_tls: bool,
}

/// Where a server is.
struct Place {
    host: String,
    address: Option<IpAddr>,
    port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// Nothing is said of it: TLS to other machines.
    ByDistance,
    Tls,
    Plain,
}

impl Target {
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        let options = Options::parse(text)?;
        let places = places(&options)?;
        let (files, encryption) = (files(&options)?, encryption(&options)?);
        let is_local = places.iter().all(Place::is_local);
        let is_random =
            one_of(&options, "load_balance_hosts", &[("disable", false), ("random", true)])?.unwrap_or(false);
        let config = config(&options, is_random)?;
        let sessions = &[("any", false), ("read-write", true), ("primary", true)];
        let is_of_primary = one_of(&options, "target_session_attrs", sessions)?.unwrap_or(false) || places.len() > 1;
        let exposed = places
            .iter()
            .find(|place| encryption == Encryption::Plain && !place.is_local());
        let exposed = exposed.map(Place::name);
        let servers: Vec<Server> = places
            .iter()
            .map(|place| {
                let is_by_tls = match encryption {
                    // PostgreSQL has no TLS over a socket of Unix.
                    _ if place.is_socket() => false,
                    Encryption::Plain => false,
                    Encryption::Tls => true,
                    Encryption::ByDistance => !is_local,
                };
                place.server(&config, is_by_tls)
            })
            .collect();
        Ok(Self {
            files: servers.iter().any(|server| server.is_by_tls).then_some(files),
            servers,
            exposed,
            connect_timeout: number(&options, "connect_timeout")?.map(Duration::from_secs),
            is_of_primary,
            is_random,
        })
    }

    /// The time to connect to each server, and the time after which what was sent and is not acknowledged ends a connection.
    pub(super) fn set_times(&mut self, each: Duration, unacknowledged: Duration) {
        for Server { config, .. } in &mut self.servers {
            config.connect_timeout(each);
            if config.get_tcp_user_timeout().is_none() {
                config.tcp_user_timeout(unacknowledged);
            }
        }
    }
}

impl Place {
    fn is_socket(&self) -> bool {
        self.host.starts_with('/') && self.address.is_none()
    }

    /// Whether nothing leaves this machine.
    fn is_local(&self) -> bool {
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        match self.address.or_else(|| self.host.parse().ok()) {
            Some(address) => is_loopback(address),
            None => self.is_socket() || self.is_localhost(),
        }
    }

    fn is_localhost(&self) -> bool {
        let name = self.host.strip_suffix('.').unwrap_or(&self.host).to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost")
    }

    fn server(&self, config: &Config, is_by_tls: bool) -> Server {
        let mut config = config.clone();
        config.port(self.port).ssl_mode(match is_by_tls {
            true => SslMode::Require,
            false => SslMode::Disable,
        });
        match self.address {
            Some(address) => {
                config.host(&*self.host).hostaddr(address);
            }
            // Not looked up: another machine that answers for the name would get everything without TLS (RFC 6761).
            None if self.is_localhost() && !is_by_tls => {
                for address in [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)] {
                    config.host(&*self.host).hostaddr(address);
                }
            }
            None => {
                config.host(&*self.host);
            }
        }
        Server {
            config,
            name: self.name(),
            is_by_tls,
        }
    }

    fn name(&self) -> String {
        match self.host.parse::<Ipv6Addr>().is_ok() {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

fn places(options: &Options) -> Result<Vec<Place>, UrlError> {
    let list = |name| -> Vec<&str> {
        let text = options.text(name);
        text.map(|text| text.split(',').collect()).unwrap_or_default()
    };
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = hosts.len().max(addresses.len());
    if count == 0 {
        return Err(UrlError::NoHost);
    }
    if count > MOST_HOSTS {
        return Err(UrlError::TooManyHosts(count));
    }
    let uneven = |name| UrlError::Uneven { name, hosts: count };
    if !hosts.is_empty() && hosts.len() != count {
        return Err(uneven("host"));
    }
    if !addresses.is_empty() && addresses.len() != count {
        return Err(uneven("hostaddr"));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(uneven("port"));
    }
    let place = |index: usize| {
        let address = addresses.get(index).copied().filter(|address| !address.is_empty());
        let address: Option<IpAddr> = address
            .map(|text| parsed("hostaddr", text, "addresses in numbers"))
            .transpose()?;
        let host = match (hosts.get(index).copied().unwrap_or_default(), address) {
            // Its certificate has to be for the address.
            ("", Some(address)) => address.to_string(),
            ("", None) => return Err(UrlError::NoHost),
            (host, _) if is_host(host) => host.to_owned(),
            _ => {
                return Err(UrlError::Invalid {
                    name: "host",
                    must: "the name or the address of a server, or the absolute path of the folder of a socket",
                });
            }
        };
        let port = match ports.get(index).or(ports.first()).copied().unwrap_or_default() {
            "" => 5432,
            text => parsed("port", text, "between 1 and 65535")?,
        };
        if port == 0 {
            return Err(UrlError::Invalid {
                name: "port",
                must: "between 1 and 65535",
            });
        }
        Ok(Place { host, address, port })
    };
    (0..count).map(place).collect()
}

/// Whether it can be a name, an address or a path. What is neither may be a part of a password.
fn is_host(text: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match text.starts_with('/') {
        true => cfg!(unix) && !text.contains('\0'),
        false => text.parse::<IpAddr>().is_ok() || text.chars().all(is_of_name),
    }
}

fn encryption(options: &Options) -> Result<Encryption, UrlError> {
    let must = &[
        ("disable", Encryption::Plain),
        ("allow", Encryption::ByDistance),
        ("prefer", Encryption::ByDistance),
        ("require", Encryption::Tls),
        ("verify-ca", Encryption::Tls),
        ("verify-full", Encryption::Tls),
    ];
    let given = one_of(options, "sslmode", must)?.unwrap_or(Encryption::ByDistance);
    // Who names certificates wants them used.
    let has_files = ["sslrootcert", "sslcert"]
        .iter()
        .any(|name| options.text(name).is_some());
    Ok(match given {
        Encryption::ByDistance if has_files => Encryption::Tls,
        given => given,
    })
}

fn files(options: &Options) -> Result<Files, UrlError> {
    let path = |name| options.text(name).filter(|path| !path.is_empty()).map(Into::into);
    let identity = match (path("sslcert"), path("sslkey")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(UrlError::HalfIdentity),
    };
    let roots = path("sslrootcert").filter(|path: &std::path::PathBuf| path.as_os_str() != "system");
    Ok(Files { roots, identity })
}

/// What is the same for all servers.
fn config(options: &Options, is_random: bool) -> Result<Config, UrlError> {
    let mut config = Config::new();
    config
        .application_name("tower-api-key")
        .keepalives_idle(KEEPALIVES_IDLE);
    if let Some(password) = &options.password {
        if password.contains(&0) {
            return Err(nul("password"));
        }
        config.password(password);
    }
    for name in ["user", "dbname", "application_name", "options"] {
        let Some(text) = options.text(name) else { continue };
        if text.contains('\0') {
            return Err(nul(name));
        }
        match name {
            "user" => config.user(text),
            "dbname" => config.dbname(text),
            "application_name" => config.application_name(text),
            _ => config.options(text),
        };
    }
    if let Some(millis) = number(options, "tcp_user_timeout")? {
        config.tcp_user_timeout(Duration::from_millis(millis));
    }
    if let Some(keepalives) = number::<u64>(options, "keepalives")? {
        config.keepalives(keepalives != 0);
    }
    // 0 stands for the default, and the system takes no such value.
    if let Some(seconds @ 1..) = number(options, "keepalives_idle")? {
        config.keepalives_idle(Duration::from_secs(seconds));
    }
    if let Some(seconds @ 1..) = number(options, "keepalives_interval")? {
        config.keepalives_interval(Duration::from_secs(seconds));
    }
    if let Some(count @ 1..) = number(options, "keepalives_count")? {
        config.keepalives_retries(count);
    }
    if is_random {
        config.load_balance_hosts(LoadBalanceHosts::Random);
    }
    let bindings = &[
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    if let Some(binding) = one_of(options, "channel_binding", bindings)? {
        config.channel_binding(binding);
    }
    Ok(config)
}

fn nul(name: &'static str) -> UrlError {
    let must = "without NUL";
    UrlError::Invalid { name, must }
}

fn number<T: FromStr>(options: &Options, name: &'static str) -> Result<Option<T>, UrlError> {
    let text = options.text(name);
    text.map(|text| parsed(name, text, "a number, 0 or more")).transpose()
}

fn parsed<T: FromStr>(name: &'static str, text: &str, must: &'static str) -> Result<T, UrlError> {
    text.parse().map_err(|_| UrlError::Invalid { name, must })
}

fn one_of<T: Copy>(options: &Options, name: &'static str, values: &[(&str, T)]) -> Result<Option<T>, UrlError> {
    let Some(text) = options.text(name) else {
        return Ok(None);
    };
    match values.iter().find(|(value, _)| *value == text) {
        Some((_, value)) => Ok(Some(*value)),
        None => Err(UrlError::Invalid {
            name,
            must: must_be(name),
        }),
    }
}

fn must_be(name: &str) -> &'static str {
    match name {
        "sslmode" => "`disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`",
        "channel_binding" => "`disable`, `prefer` or `require`",
        "target_session_attrs" => "`any`, `read-write` or `primary`, since keys are read from the primary alone",
        _ => "`disable` or `random`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each server, and whether it is connected to by TLS.
    fn servers(text: &str) -> Vec<String> {
        let target = Target::parse(text).unwrap();
        let shown = |server: &Server| format!("{}{}", server.name, if server.is_by_tls { " TLS" } else { "" });
        target.servers.iter().map(shown).collect()
    }

    #[test]
    fn hosts_are_those_that_people_write() {
        for (text, expected) in [
            ("postgres://db", "db:5432 TLS"),
            ("POSTGRESQL://db:1/x", "db:1 TLS"),
            ("postgres://[fd00::1]:6/x", "[fd00::1]:6 TLS"),
            ("postgres://[fd00::1]", "[fd00::1]:5432 TLS"),
            ("postgres://[::1]:6/x", "[::1]:6"),
            ("postgres://a:1,b,[::1]:3/x", "a:1 TLS|b:5432 TLS|[::1]:3 TLS"),
            ("postgres://u@/x?host=/run/postgresql", "/run/postgresql:5432"),
            ("postgres:///x?host=a,b&port=7", "a:7 TLS|b:7 TLS"),
            ("postgres://localhost:9/x?host=/cloudsql/p:r:i", "/cloudsql/p:r:i:9"),
            ("postgres://localhost,/x?host=/a,db", "/a:5432|db:5432 TLS"),
            ("host=db", "db:5432 TLS"),
            ("host = 'db' port = 1", "db:1 TLS"),
            ("host=a,b port=1,", "a:1 TLS|b:5432 TLS"),
            ("hostaddr=10.0.0.1", "10.0.0.1:5432 TLS"),
            ("host=db hostaddr=127.0.0.1", "db:5432"),
            ("host=localhost hostaddr=10.0.0.1", "localhost:5432 TLS"),
            (
                "host=127.0.0.1,db hostaddr=127.0.0.1,",
                "127.0.0.1:5432 TLS|db:5432 TLS",
            ),
            ("host=::ffff:127.0.0.1", "[::ffff:127.0.0.1]:5432"),
            ("host=127.9.9.9", "127.9.9.9:5432"),
            ("host=127.1", "127.1:5432 TLS"),
            ("host=0.0.0.0", "0.0.0.0:5432 TLS"),
            ("host=localhost.", "localhost.:5432"),
            ("host=a.LOCALHOST", "a.LOCALHOST:5432"),
            ("host=localhost.example.com", "localhost.example.com:5432 TLS"),
            ("host=notlocalhost", "notlocalhost:5432 TLS"),
            ("host=db sslmode=disable", "db:5432"),
            ("host=localhost sslmode=verify-full", "localhost:5432 TLS"),
            ("host=/run sslmode=verify-full", "/run:5432"),
            ("host=localhost sslcert=a sslkey=b", "localhost:5432 TLS"),
            ("host=localhost sslcert=a sslkey=b sslmode=disable", "localhost:5432"),
        ] {
            assert_eq!(servers(text).join("|"), expected, "{text}");
        }
    }

    #[test]
    fn only_plaintext_that_is_asked_for_is_sent_elsewhere() {
        for (text, exposed) in [
            ("host=db", None),
            ("host=db sslmode=disable", Some("db:5432")),
            ("host=localhost,10.0.0.1 port=1 sslmode=disable", Some("10.0.0.1:1")),
            ("host=localhost,/run sslmode=disable", None),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!(target.exposed.as_deref(), exposed, "{text}");
            for server in &target.servers {
                let mode = server.config.get_ssl_mode();
                assert_eq!(mode == SslMode::Require, server.is_by_tls, "{text}");
                // "TLS if available" is what this never does.
                assert_ne!(mode, SslMode::Prefer, "{text}");
            }
        }
    }

    #[test]
    fn name_of_loopback_is_not_looked_up() {
        let target = Target::parse("host=a.localhost,db.example hostaddr=,127.0.0.1").unwrap();
        let addresses = target
            .servers
            .iter()
            .map(|server| server.config.get_hostaddrs().to_vec());
        let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
        let both: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), loopback];
        assert_eq!(addresses.collect::<Vec<_>>(), [both.to_vec(), vec![loopback]]);
    }

    #[test]
    fn texts_are_decoded_and_yield_to_options() {
        let parse = |text: &str| Target::parse(text).unwrap().servers.remove(0).config;
        let config = parse("postgres://k%40y:p%26w%2F%FF@db/d%20b?application_name=a%3Db&options=-c%20x");
        assert_eq!(config.get_user(), Some("k@y"));
        assert_eq!(config.get_password(), Some(&b"p&w/\xff"[..]));
        assert_eq!(config.get_dbname(), Some("d b"));
        assert_eq!(config.get_application_name(), Some("a=b"));
        assert_eq!(config.get_options(), Some("-c x"));
        let config = parse("postgres://a:b@db/c?user=x&password=y&dbname=z");
        assert_eq!((config.get_user(), config.get_dbname()), (Some("x"), Some("z")));
        assert_eq!(config.get_password(), Some(&b"y"[..]));
        let config = parse(r"host=db user='it\'s' password='a b' dbname=x\ y connect_timeout=7 tcp_user_timeout=1500");
        assert_eq!((config.get_user(), config.get_dbname()), (Some("it's"), Some("x y")));
        assert_eq!(config.get_password(), Some(&b"a b"[..]));
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
        assert_eq!(config.get_application_name(), Some("tower-api-key"));
        let config = parse("host=db keepalives_idle=0 keepalives_interval=0 keepalives_count=0");
        assert_eq!(config.get_keepalives_idle(), KEEPALIVES_IDLE);
        assert_eq!(
            (config.get_keepalives_interval(), config.get_keepalives_retries()),
            (None, None)
        );
    }
}
