//! Why there is no TLS.

#[cfg(feature = "postgres-tls")]
use std::path::PathBuf;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[cfg(not(feature = "postgres-tls"))]
    #[error(
        "the server is on another machine, or the URL asks for TLS, which needs feature `postgres-tls` of tower-api-key; \
         `sslmode=disable` in the URL does without, and sends passwords and hashes of keys in clear"
    )]
    NeedsFeature,
    #[cfg(feature = "postgres-tls")]
    #[error("cannot read certificates from {}, which `{option}` names", .path.display())]
    Certificates {
        option: &'static str,
        path: PathBuf,
        source: rustls::pki_types::pem::Error,
    },
    #[cfg(feature = "postgres-tls")]
    #[error("no certificate in PEM in {}, which `{option}` names", .path.display())]
    NoCertificates { option: &'static str, path: PathBuf },
    #[cfg(feature = "postgres-tls")]
    #[error("cannot read a private key in PEM, without a passphrase, from {}, which `sslkey` names", .path.display())]
    Key {
        path: PathBuf,
        source: rustls::pki_types::pem::Error,
    },
    #[cfg(feature = "postgres-tls")]
    #[error(
        "the system trusts no certificates; name a file with that of the server's authority by `sslrootcert` in the URL"
    )]
    NoSystemRoots(#[source] Option<rustls_native_certs::Error>),
    #[cfg(feature = "postgres-tls")]
    #[error("the certificates or the key that the URL names cannot be used")]
    Unfit(#[from] rustls::Error),
}
