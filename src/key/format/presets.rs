//! Formats of keys from other systems.

use std::sync::Arc;

use super::KeyFormat;
use super::alphabet::Alphabet;
use super::builder::{KeyFormatBuilder, check_some_prefix};
use super::checksum::Checksum;
use super::layout::{Body, Layout};
use crate::error::ConfigError;

/// # Formats of other systems
impl KeyFormat {
    /// `cmpz_` and 32 base62 characters: 37 characters in all, without an environment or a checksum. The first 8 characters
    /// after the prefix are the lookup.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::cmpz();
    /// assert_eq!(format.parse(b"cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV")?.lookup(), "01234567");
    /// # Ok::<_, tower_api_key::key::MalformedKey>(())
    /// ```
    pub fn cmpz() -> Self {
        cmpz().assemble()
    }

    /// `pk_live_` or `pk_test_` and 43 base64url characters: 51 characters in all, without a checksum. The first 8 characters
    /// after the environment are the lookup. Python's `secrets.token_urlsafe(32)` makes such bodies.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::pk();
    /// let key = format.parse(b"pk_live_AbCdEfGh_JkLmNoPqRsTuVwXyZ0123456789-_AbCdE")?;
    /// assert_eq!((key.environment(), key.lookup()), (Some("live"), "AbCdEfGh"));
    /// # Ok::<_, tower_api_key::key::MalformedKey>(())
    /// ```
    pub fn pk() -> Self {
        url_safe("pk").assemble()
    }

    /// `hk_live_` or `hk_test_` and 43 base64url characters: as [`pk`](Self::pk), with another prefix.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::hk();
    /// let key = format.parse(b"hk_test_AbCdEfGh_JkLmNoPqRsTuVwXyZ0123456789-_AbCdE")?;
    /// assert_eq!((key.environment(), key.lookup()), (Some("test"), "AbCdEfGh"));
    /// # Ok::<_, tower_api_key::key::MalformedKey>(())
    /// ```
    pub fn hk() -> Self {
        url_safe("hk").assemble()
    }

    /// `gml_`, a time in seconds since 1970, `_` and 64 hex digits in lower case: 79 characters with a time of ten digits,
    /// without an environment or a checksum. The first 12 hex digits are the lookup.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::gml();
    /// let key = format!("gml_1767225600_{}", "0123456789abcdef".repeat(4));
    /// assert_eq!(format.parse(key.as_bytes())?.lookup(), "0123456789ab");
    /// # Ok::<_, tower_api_key::key::MalformedKey>(())
    /// ```
    pub fn gml() -> Self {
        gml().assemble()
    }

    /// 64 hex digits in lower case and nothing else. The first 12 are the lookup.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::bare_hex();
    /// let key = "0123456789abcdef".repeat(4);
    /// assert_eq!(format.parse(key.as_bytes())?.lookup(), "0123456789ab");
    /// # Ok::<_, tower_api_key::key::MalformedKey>(())
    /// ```
    pub fn bare_hex() -> Self {
        bare_hex().assemble()
    }

    /// Keys of djangorestframework-api-key, `<prefix>.<secret>`: 8 base62 characters, a dot, and 32 base62 characters, 41 in
    /// all. The first 8 are the lookup.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::django_rest_framework();
    /// assert_eq!(format.parse(b"kYtGbYr2.0123456789ABCDEFGHIJKLMNOPQRSTUV")?.lookup(), "kYtGbYr2");
    /// # Ok::<_, tower_api_key::key::MalformedKey>(())
    /// ```
    pub fn django_rest_framework() -> Self {
        django_rest_framework().assemble()
    }

    /// Keys of Seam's prefixed-api-key with its default lengths, `<prefix>_<short>_<long>`: the short token of 8 characters
    /// is the lookup, the long token of 24 the secret. Its base58 characters are a part of base62.
    ///
    /// That system hashes the long token alone, and a [`SecretHash`](crate::key::SecretHash) covers the whole key. So its
    /// stored hashes do not verify here, but keys issued here in its format do.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::seam("mycompany")?;
    /// let key = format.parse(b"mycompany_BRTRKFsL_51FwqftsmMDHHbJAMEXXHCgG")?;
    /// assert_eq!(key.lookup(), "BRTRKFsL");
    /// assert_eq!(key.secret(), "51FwqftsmMDHHbJAMEXXHCgG");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the prefix is not valid, as for [`new`](Self::new).
    pub fn seam(prefix: &str) -> Result<Self, ConfigError> {
        check_some_prefix(prefix)?;
        Ok(seam(prefix).assemble())
    }

    /// Keys of Laravel Sanctum, `<id>|<secret>`: a row number of up to 20 digits, which is the lookup, and 40 to 48 base62
    /// characters. A checksum of Sanctum counts as a part of the secret and is not verified. No keys are generated in this
    /// format, because another system counts the rows.
    ///
    /// Sanctum hashes the secret alone, and a [`SecretHash`](crate::key::SecretHash) covers the whole key. So its stored
    /// hashes do not verify here.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::sanctum();
    /// let key = format.parse(b"42|0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcd")?;
    /// assert_eq!(key.lookup(), "42");
    /// assert_eq!(key.secret(), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcd");
    /// # Ok::<_, tower_api_key::key::MalformedKey>(())
    /// ```
    pub fn sanctum() -> Self {
        import_only(Body::Numbered, false)
    }

    /// Any 16 to 256 visible ASCII characters. The SHA-256 of the whole key is the lookup, as in stores with an index by
    /// hash. No keys are generated in this format. Among several formats it must be the last.
    ///
    /// If all keys have one form, [`hashed_lookup`](KeyFormatBuilder::hashed_lookup) refuses others without a store read.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::raw();
    /// let key = format.parse(b"correct-horse-battery-staple")?;
    /// assert_eq!(key.lookup().len(), 64);
    /// # Ok::<_, tower_api_key::key::MalformedKey>(())
    /// ```
    ///
    /// # Security
    /// Only the first 8 characters of such a lookup are shown or logged.
    pub fn raw() -> Self {
        import_only(Body::Any, true)
    }
}

fn import_only(body: Body, hashed_lookup: bool) -> KeyFormat {
    KeyFormat(Arc::new(Layout {
        prefix: "".into(),
        heads: Layout::heads("", &[]),
        timestamp: false,
        body,
        hashed_lookup,
        checksum: Checksum::None,
        realm: None,
    }))
}

fn cmpz() -> KeyFormatBuilder {
    foreign("cmpz").body_length(32).lookup_length(8)
}

fn url_safe(prefix: &str) -> KeyFormatBuilder {
    foreign(prefix)
        .environments(["live", "test"])
        .alphabet(Alphabet::Base64Url)
        .body_length(43)
        .lookup_length(8)
}

fn gml() -> KeyFormatBuilder {
    hex("gml").timestamp()
}

fn bare_hex() -> KeyFormatBuilder {
    hex("")
}

fn hex(prefix: &str) -> KeyFormatBuilder {
    foreign(prefix)
        .alphabet(Alphabet::Hex)
        .body_length(64)
        .lookup_length(12)
}

fn django_rest_framework() -> KeyFormatBuilder {
    foreign("").separator('.').lookup_length(8).body_length(40)
}

fn seam(prefix: &str) -> KeyFormatBuilder {
    foreign(prefix).separator('_').lookup_length(8).body_length(32)
}

fn foreign(prefix: &str) -> KeyFormatBuilder {
    KeyFormatBuilder::new(prefix)
        .without_environments()
        .checksum(Checksum::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Presets skip the builder's check at run time, so they are checked here.
    #[test]
    fn presets_pass_the_builders_check() {
        for preset in [
            cmpz(),
            url_safe("pk"),
            url_safe("hk"),
            gml(),
            bare_hex(),
            django_rest_framework(),
            seam("seam"),
        ] {
            assert_eq!(preset.check(), Ok(()), "{preset:?}");
        }
    }
}
