//! What the operator has to change, for errors of connecting that do not pass by themselves.

use tokio_postgres::error::SqlState;

pub(super) fn advice(error: &tokio_postgres::Error) -> Option<&'static str> {
    match error.code() {
        Some(code) => of_code(code).or_else(|| of_pooler(error)),
        None => of_tls(error).or_else(|| of_text(error)),
    }
}

fn of_code(code: &SqlState) -> Option<&'static str> {
    if *code == SqlState::INVALID_PASSWORD {
        Some("correct the user or the password in the URL")
    } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        Some(
            "correct the user in the URL, or let it in by `pg_hba.conf`; if that asks for TLS, write `sslmode=verify-full`",
        )
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        Some("create the database, or correct its name in the URL")
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        Some("grant the user of the URL CONNECT on the database")
    } else {
        None
    }
}

/// PgBouncer has one code for all that it says.
fn of_pooler(error: &tokio_postgres::Error) -> Option<&'static str> {
    let message = error.as_db_error()?.message();
    message
        .starts_with("unsupported startup parameter")
        .then_some("remove `options` from the URL, or have the pooler ignore it (`ignore_startup_parameters`)")
}

/// tokio-postgres tells its kinds of errors apart by their texts alone. Tests notice when they are other ones.
fn of_text(error: &tokio_postgres::Error) -> Option<&'static str> {
    let text = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    match (&*error.to_string(), &*text) {
        (_, "server does not support TLS") => Some(
            "set `ssl = on` in the server; `sslmode=disable` in the URL does without, and sends passwords and hashes of keys in clear",
        ),
        ("error performing TLS handshake", "no TLS implementation configured") => Some("enable feature `postgres-tls`"),
        ("invalid configuration", "password missing") => Some("write the password in the URL"),
        ("authentication error", _) => {
            Some("the server asks for what this client cannot do; `scram-sha-256` in `pg_hba.conf` works")
        }
        _ => None,
    }
}

#[cfg(feature = "postgres-tls")]
fn of_tls(error: &tokio_postgres::Error) -> Option<&'static str> {
    use rustls::{AlertDescription, CertificateError, Error};

    let source = std::error::Error::source(error)?;
    let io = source.downcast_ref::<std::io::Error>()?;
    Some(match io.get_ref()?.downcast_ref::<Error>()? {
        // Also one that was made anew, under its old name.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "name the file with the certificate of its authority by `sslrootcert` in the URL"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "write a host in the URL that the certificate names (its subjectAltName alone counts)",
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "renew the server's certificate, or correct the clock of this machine"
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "correct the clock of this machine or of that which made the certificate"
        }
        Error::InvalidCertificate(_) => "the server needs another certificate",
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA,
        ) => "name a certificate that the server trusts, and its key, by `sslcert` and `sslkey` in the URL",
        _ => "what answers does not do the TLS of a PostgreSQL server",
    })
}

#[cfg(not(feature = "postgres-tls"))]
fn of_tls(_: &tokio_postgres::Error) -> Option<&'static str> {
    None
}
